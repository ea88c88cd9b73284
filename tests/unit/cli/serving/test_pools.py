"""Pools of further models: started and stopped as rows say, and left alone where these cannot be read."""

import sys
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from cli.serving import pools
from cli.serving.pools import Pools
from cli.serving.processes import Supervisor
from shared.activations.activate import Actor, put_default_model, put_shadow_model
from shared.db import Database
from shared.settings import Settings
from shared.states import State
from shared.tables import Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images

SLEEP = "import time\ntime.sleep(600)"
ACTOR = Actor("ada")
WORKERS = 4


class Place:
    """A site whose settings name `test-model`, and the pools beside its workers."""

    def __init__(self, settings: Settings, database: Database, supervisor: Supervisor) -> None:
        self.site = Site(settings, database, database_url=SecretStr(str(database.engine.url)))
        self.supervisor = supervisor
        self.pools = Pools(supervisor, self.site.settings, WORKERS)

    def put(self, change: Callable[[Session], object]) -> None:
        self.site.database.transact(change)

    def default(self, name: str) -> None:
        self.put(lambda session: put_default_model(session, ACTOR, name, "test-model"))

    def shadow(self, name: str | None) -> None:
        self.put(lambda session: put_shadow_model(session, ACTOR, name, "test-model"))

    def running(self) -> dict[str, tuple[str, str]]:
        """Look, and return the number of processes and the name of each pool by its model."""
        self.pools.look()
        return {
            program.environment["PNEUMOSCREEN_MODEL"]: (program.command[-2], program.name)
            for program in self.supervisor.programs
        }


@pytest.fixture
def place(settings: Settings, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(pools, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(pools, "worker_command", lambda n, name: [sys.executable, "-c", SLEEP, str(n), name])
    supervisor = Supervisor({}, None)
    place = Place(settings, sqlite_database, supervisor)
    yield place
    place.pools.close()
    supervisor.stop(5.0)


def test_the_model_of_the_settings_needs_no_further_pool(place: Place) -> None:
    assert place.running() == {}
    place.default("other")
    place.default("test-model")
    assert place.running() == {}


def test_a_model_that_was_chosen_gets_workers_and_a_shadow_model_one(place: Place) -> None:
    place.default("other")
    place.shadow("third")
    assert place.running() == {"other": ("4", "worker-other"), "third": ("1", "worker-third")}
    pids = {program.process.pid for program in place.supervisor.programs if program.process}
    assert place.running().keys() == {"other", "third"}
    assert {program.process.pid for program in place.supervisor.programs if program.process} == pids, "left alone"
    place.default("third")
    place.shadow(None)
    assert place.running() == {"third": ("4", "worker-third")}


def test_a_former_default_model_keeps_its_workers_until_its_jobs_have_ended(place: Place) -> None:
    place.default("other")
    sender = place.site.token_client(place.site.add_user("tina"))
    assert post_images(sender, ("a.png", encode(draw(1), "PNG"))).status_code == 202
    place.default("test-model")
    assert place.running() == {"other": ("4", "worker-other")}
    place.put(lambda session: session.execute(update(Screening).values(state=State.CANCELLED)))
    assert place.running() == {}


def test_while_the_database_does_not_answer_all_stays_as_it_is(place: Place) -> None:
    place.default("other")
    assert place.running().keys() == {"other"}
    place.put(lambda session: session.execute(text("ALTER TABLE activations RENAME TO away")))
    assert place.running().keys() == {"other"}
    place.put(lambda session: session.execute(text("ALTER TABLE away RENAME TO activations")))
    place.default("test-model")
    assert place.running() == {}
