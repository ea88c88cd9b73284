"""What an administrator puts in force reaches real workers: another model, a threshold without a restart, a shadow."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from sqlalchemy import func, select

from shared.accounts import tokens, users
from shared.states import State
from shared.tables import Prediction, Role, Scope, Screening, ShadowScore
from tests.conftest import DEFAULT_MODEL
from tests.integration.conftest import Stack, make_images, start, stop, wait_until, wait_until_ready

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

OTHER = "compact-cnn"


@dataclass
class Place:
    """A running installation and an administrator's program."""

    stack: Stack
    token: str

    def put(self, what: str, **body: object) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.put(f"{self.stack.url}/api/v1/models/{what}", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text

    def screen(self, seed: int, count: int = 3) -> list[dict[str, object]]:
        job = self.stack.submit(make_images(count, seed=seed))
        assert self.stack.wait(job, 200)["counts"]["DONE"] == count
        with self.stack.client as client:
            rows: list[dict[str, object]] = client.get(f"/api/v1/jobs/{job}/screenings").json()["screenings"]
        return rows

    def pools(self) -> set[str]:
        """Name the models of the workers that run."""
        return set(filter(None, map(model_of, psutil.Process(self.stack.process.pid).children())))


def model_of(process: psutil.Process) -> str | None:
    """Name the model of a worker; None for other programs, and for one that has just ended."""
    try:
        is_worker = "worker.app" in process.cmdline()
        return process.environ().get("PNEUMOSCREEN_MODEL", DEFAULT_MODEL) if is_worker else None
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return None


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    running = start(tmp_path_factory.mktemp("activation"), workers=1)
    try:
        wait_until_ready(running)
        with running.database.write() as session:
            admin = users.add_user(session, "ada", Role.ADMIN)
            token = tokens.make_token(session, admin, "for the test", scopes=Scope)
        yield Place(running, token)
    finally:
        stop(running)


def models(rows: list[dict[str, object]]) -> set[str]:
    return {str(row["model"]).split("@")[0] for row in rows}


def test_models_and_thresholds_are_taken_up_while_everything_runs(place: Place) -> None:
    assert models(place.screen(51)) == {DEFAULT_MODEL}
    place.put("default", model=OTHER)
    first = place.screen(52)
    assert models(first) == {OTHER}
    place.put(f"{OTHER}/threshold", threshold=0.999999)
    later = place.screen(53)
    assert {row["threshold"] for row in later} == {0.999999}
    assert {row["model"] for row in later}.isdisjoint({row["model"] for row in first})
    place.put("default", model=DEFAULT_MODEL)
    place.put("shadow", model=OTHER)
    before = count(place, Prediction)
    assert models(place.screen(54, 5)) == {DEFAULT_MODEL}
    wait_until(lambda: finished(place) == 5, 120, "the shadow model to answer")
    assert count(place, Prediction) == before + 5
    with place.stack.database.read() as session:
        assert set(session.scalars(select(Screening.state))) == {State.DONE}
        assert session.scalars(select(ShadowScore.error_code).distinct()).all() == [None]
    place.put("shadow", model=None)
    wait_until(lambda: OTHER not in place.pools(), 60, "the shadow's worker to end")
    assert models(place.screen(55)) == {DEFAULT_MODEL}


def count(place: Place, table: type) -> int:
    with place.stack.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def finished(place: Place) -> int:
    with place.stack.database.read() as session:
        return session.scalar(select(func.count()).where(ShadowScore.finished_at.is_not(None))) or 0
