"""The score of an image that the gate stopped: asked for on record, found by a worker, and in no list."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select, update

from shared.db import Database, now
from shared.images import gate
from shared.images.preprocess import prepare
from shared.models.spec import Label, ModelSpec
from shared.queue import asked_scores, retention, score_leases
from shared.settings import Settings
from shared.states import State
from shared.store.store import FolderStore
from shared.tables import AskedScore, Prediction, Role, Screening, User
from tests.classifiers import Constant, synthetic_chest
from tests.conftest import encode
from tests.web_site import Site, post_images, press
from worker.networks.classifier import Answers
from worker.screening.screen import Screener

TURNED = encode(synthetic_chest().transpose(Image.Transpose.ROTATE_90))


class Stopped:
    """A site, a worker whose model has a gate, and one image that the gate has stopped."""

    def __init__(self, settings: Settings, database: Database, spec: ModelSpec, **changes: bool) -> None:
        gated = spec.model_copy(update={"gate": gate.default((1, 5))})
        self.site = Site(settings, database, **changes)
        self.site.install_model(gated)
        self.technician = self.site.add_user("tina")
        self.reader = self.site.add_user("rita", Role.READER)
        self.model = Constant(gated)
        store = self.site.store
        assert isinstance(store, FolderStore)
        self.screener = Screener(self.site.settings, database, store, self.model, "w1")
        assert post_images(self.site.token_client(self.technician), ("turned.jpeg", TURNED)).status_code == 202
        self.screener.drain(30)

    @property
    def screening(self) -> Screening:
        (screening,) = self.site.screenings()
        return screening

    def ask(self, user: User | None = None) -> str | None:
        with self.site.database.write() as session:
            return asked_scores.ask(session, session.get_one(Screening, self.screening.id), (user or self.reader).id)

    def score(self) -> AskedScore:
        with self.site.database.read() as session:
            return session.scalars(select(AskedScore)).one()

    def claim(self, max_attempts: int = 3) -> asked_scores.AskedImage | None:
        with self.site.database.write() as session:
            name = self.model.spec.name
            return asked_scores.claim(session, name, lease_seconds=60.0, max_attempts=max_attempts)

    def lose(self) -> None:
        """Free what is held, as the sweep does once its worker is lost."""
        with self.site.database.write() as session:
            score_leases.free(session, score_leases.find_held(session))


@pytest.fixture
def stopped(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Stopped:
    return Stopped(settings, sqlite_database, spec)


@pytest.fixture
def stopped_on_each(settings: Settings, database: Database, spec: ModelSpec) -> Stopped:
    return Stopped(settings, database, spec)


def test_a_score_that_was_asked_for_is_found_and_is_no_answer(stopped_on_each: Stopped) -> None:
    stopped = stopped_on_each
    assert stopped.screening.error_code == "rotated"
    assert stopped.ask() == stopped.model.spec.name
    stopped.screener.drain(30)
    score = stopped.score()
    assert (score.label, score.stopped_by, score.attempts) == (Label.PNEUMONIA, "rotated", 1)
    assert score.p_pneumonia is not None
    assert score.p_pneumonia >= (score.threshold or 1.0)
    assert score.model == stopped.model.spec.version
    screening = stopped.screening
    assert (screening.state, screening.prediction_id, screening.label) == (State.REJECTED, None, None)
    with stopped.site.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == 0


def test_the_model_reads_a_turned_image_upright(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[np.ndarray] = []
    answer = stopped.model.answer

    def remember(batch: np.ndarray) -> Answers:
        read.append(batch)
        return answer(batch)

    monkeypatch.setattr(stopped.model, "answer", remember)
    stopped.ask()
    stopped.screener.drain(30)
    upright = prepare(encode(synthetic_chest()), stopped.model.spec)
    (pixels,) = read
    apart = [np.abs(pixels[0].astype(int) - np.rot90(upright, quarters)).mean() for quarters in range(4)]
    assert int(np.argmin(apart)) == 0


def test_the_same_image_sent_again_meets_the_gate_again(stopped: Stopped) -> None:
    stopped.ask()
    stopped.screener.drain(30)
    post_images(stopped.site.token_client(stopped.technician), ("again.jpeg", TURNED))
    stopped.screener.drain(30)
    assert [screening.state for screening in stopped.site.screenings()] == [State.REJECTED] * 2


def test_asking_twice_changes_nothing(stopped: Stopped) -> None:
    first, again = stopped.ask(), stopped.ask(stopped.technician)
    assert first == again == stopped.model.spec.name
    stopped.screener.drain(30)
    found = stopped.score()
    assert found.asked_by_id == stopped.reader.id
    assert stopped.ask() is None
    assert stopped.score().finished_at == found.finished_at
    assert stopped.model.batches == [1]


def test_readers_who_ask_at_the_same_time_ask_once(stopped_on_each: Stopped) -> None:
    stopped = stopped_on_each
    together = threading.Barrier(4)

    def ask(_: int) -> str | None:
        together.wait(30)
        return stopped.ask()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(ask, range(4))) == {stopped.model.spec.name}
    assert stopped.score().stopped_by == "rotated"


def test_a_score_whose_worker_was_lost_is_taken_by_the_next_and_the_first_writes_nothing(
    stopped_on_each: Stopped,
) -> None:
    stopped = stopped_on_each
    stopped.ask()
    first = stopped.claim()
    assert first is not None
    assert stopped.claim() is None
    stopped.lose()
    second = stopped.claim()
    assert second is not None
    assert second.sha256 == first.sha256
    with stopped.site.database.write() as session:
        assert not asked_scores.settle(session, first, stopped.model.spec, None)
    stopped.lose()
    stopped.screener.drain(30)
    assert (stopped.score().label, stopped.score().attempts) == (Label.PNEUMONIA, 3)


def test_a_slow_model_keeps_what_it_holds(
    settings: Settings, sqlite_database: Database, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(settings.model_copy(update={"lease_seconds": 0.2}), sqlite_database, spec)
    answer = stopped.model.answer

    def answer_after_heartbeats(batch: np.ndarray) -> Answers:
        first = stopped.score().lease_until
        until = time.monotonic() + 30
        while stopped.score().lease_until == first:
            assert time.monotonic() < until, "no heartbeat"
            time.sleep(0.01)
        return answer(batch)

    monkeypatch.setattr(stopped.model, "answer", answer_after_heartbeats)
    stopped.ask()
    stopped.screener.drain(30)
    assert (stopped.score().label, stopped.score().attempts) == (Label.PNEUMONIA, 1)


def test_a_worker_that_was_taken_for_lost_writes_no_score_and_frees_none(stopped: Stopped) -> None:
    stopped.ask()
    lost = stopped.claim()
    assert lost is not None
    stopped.lose()
    with stopped.site.database.write() as session:
        assert not score_leases.extend(session, lost, 60.0)
    second = stopped.claim()
    assert second is not None
    with stopped.site.database.write() as session:
        assert not score_leases.extend(session, lost, 60.0)
        assert not score_leases.release(session, lost, counts=False)
        assert score_leases.extend(session, second, 60.0)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def test_a_clock_of_another_machine_takes_no_score_from_a_worker(
    stopped: Stopped, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    stopped.ask()
    assert stopped.claim() is not None
    monkeypatch.setattr(score_leases, "now", lambda: now() + jump)
    assert stopped.claim() is None


def test_a_score_that_loses_every_worker_ends_and_can_be_asked_for_anew(stopped: Stopped) -> None:
    stopped.ask()
    assert stopped.claim(max_attempts=1) is not None
    stopped.lose()
    assert stopped.claim(max_attempts=1) is None
    assert (stopped.score().error_code, stopped.score().label) == ("worker_lost", None)
    assert stopped.ask() == stopped.model.spec.name
    stopped.screener.drain(30)
    assert stopped.score().label is Label.PNEUMONIA


def test_an_image_that_is_gone_gets_its_reason_in_place_of_a_score(stopped: Stopped) -> None:
    stopped.ask()
    next((Path(stopped.site.settings.data_dir) / "store" / "images").rglob("?" * 64)).unlink()
    stopped.screener.drain(30)
    assert (stopped.score().error_code, stopped.score().finished_at is not None) == ("image_missing", True)


def test_a_score_waits_for_the_sweep_where_no_ticket_could_be_sent(stopped: Stopped) -> None:
    stopped.ask()
    with stopped.site.database.read() as session:
        assert asked_scores.count_waiting(session) == {stopped.model.spec.name: 1}
    stopped.screener.drain(30)
    with stopped.site.database.read() as session:
        assert asked_scores.count_waiting(session) == {}


def test_a_score_goes_with_its_job(stopped_on_each: Stopped) -> None:
    stopped = stopped_on_each
    stopped.ask()
    stopped.screener.drain(30)
    removed = retention.delete_job(stopped.site.database, stopped.screening.job_id, lambda _: None)
    assert (removed.screenings, removed.images) == (1, 1)
    with stopped.site.database.read() as session:
        assert session.scalar(select(func.count()).select_from(AskedScore)) == 0


def test_a_reader_asks_on_the_page_and_reads_the_score_there_alone(stopped: Stopped) -> None:
    reader, page = stopped.site.browser(stopped.reader), f"/screenings/{stopped.screening.id}"
    assert "Screen it turned upright" in reader.get(page).text
    assert press(reader, f"{page}/score", page).status_code == 303
    assert stopped.site.actions()[-1] == "score_asked"
    assert stopped.site.sent_tickets.models[-1] == stopped.model.spec.name
    waiting = reader.get(page).text
    assert "A worker will read this image" in waiting
    assert 'http-equiv="refresh"' in waiting
    stopped.screener.drain(30)
    shown = reader.get(page).text
    assert "Not a result." in shown
    assert "Asked for by <bdi>rita</bdi>" in shown
    assert "Screen it turned upright" not in shown
    assert f"screening-{stopped.screening.id}" not in reader.get("/history?order=suspicious").text
    assert "PNEUMONIA" not in reader.get("/history/export?format=csv").text


@pytest.fixture
def program(stopped: Stopped) -> FlaskClient:
    return stopped.site.token_client(stopped.reader)


def test_a_program_asks_and_reads_the_score(stopped: Stopped, program: FlaskClient) -> None:
    path = f"/api/v1/screenings/{stopped.screening.id}/score"
    assert program.get(path).status_code == 404
    answer = program.post(path)
    assert (answer.status_code, answer.json["state"], answer.json["label"]) == (200, "WAITING", None)  # type: ignore[index]
    stopped.screener.drain(30)
    found = program.get(path).json
    assert found is not None
    assert (found["state"], found["stopped_by"], found["label"]) == ("SCORED", "rotated", "PNEUMONIA")
    listed = program.get("/api/v1/predictions").json["predictions"]  # type: ignore[index]
    assert [(row["state"], row["label"], row["p_pneumonia"]) for row in listed] == [("REJECTED", None, None)]


def test_who_reads_blind_learns_no_score_before_the_own_review(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    stopped = Stopped(settings, sqlite_database, spec, blind_second_reading=True)
    program = stopped.site.token_client(stopped.reader)
    path = f"/api/v1/screenings/{stopped.screening.id}"
    program.post(f"{path}/score")
    stopped.screener.drain(30)
    assert program.post(f"{path}/reviews", json={"finding": "viral"}).status_code == 201
    second = stopped.site.token_client(stopped.site.add_user("ruth", Role.READER))
    for answer in (second.get(f"{path}/score"), second.post(f"{path}/score")):
        assert answer.status_code == 409
        assert "after you give your own review" in answer.text
        assert "PNEUMONIA" not in answer.text
    assert second.post(f"{path}/reviews", json={"finding": "normal"}).status_code == 201
    assert second.get(f"{path}/score").json["label"] == "PNEUMONIA"  # type: ignore[index]


def test_an_image_that_the_gate_did_not_stop_cannot_be_asked_about(stopped: Stopped, program: FlaskClient) -> None:
    with stopped.site.database.write() as session:
        waiting = {"state": State.QUEUED, "error_code": None, "error_details": None, "finished_at": None}
        session.execute(update(Screening).where(Screening.id == stopped.screening.id).values(waiting))
    assert program.post(f"/api/v1/screenings/{stopped.screening.id}/score").status_code == 409
    assert program.post(f"/api/v1/screenings/{uuid.uuid4()}/score").status_code == 404
