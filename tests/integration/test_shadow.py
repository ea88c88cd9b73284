"""A shadow model: it answers for the same images when nothing else waits, apart from all else, and hurts nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import func, select

from shared.activations.activate import Actor, put_default_model, put_shadow_model
from shared.activations.in_force import shadow_model
from shared.db import Database, now
from shared.errors import StoreAway
from shared.models.folder import WEIGHTS_FILE
from shared.models.spec import Label, ModelSpec
from shared.queue import retention, score_leases, shadow_scores
from shared.queue.heartbeats import Heartbeats
from shared.settings import Settings
from shared.states import State
from shared.store.store import FolderStore
from shared.tables import AuditEvent, Job, Message, Prediction, Role, Screening, ShadowScore
from tests.classifiers import Constant
from tests.conftest import draw, encode
from tests.integration.test_activation import API, install, plain
from tests.site_history import History
from tests.web_site import Site, post_images, press
from worker.networks.classifier import Answers
from worker.screening.screen import Screener
from worker.sweep import Sweep

ACTOR = Actor("ada")


class Timid(Constant):
    """Sees no pneumonia."""

    def answer(self, batch: np.ndarray) -> Answers:
        self.batches.append(len(batch))
        return Answers(np.tile(np.array([3.0, 0.0, 0.0], np.float32), (len(batch), 1)), None)


class Broken(Constant):
    """Cannot answer."""

    def answer(self, batch: np.ndarray) -> Answers:
        self.batches.append(len(batch))
        raise RuntimeError("the network broke")


class Place:
    """A site with workers of two models, of which one may be the other's shadow."""

    def __init__(self, settings: Settings, database: Database, spec: ModelSpec) -> None:
        self.site = Site(settings, database)
        self.own = install(self.site, spec, spec.name)
        self.other = install(self.site, spec, "other")
        self.database = database
        self.worker = self.screener(Constant(self.own))
        self.shadow = self.screener(Timid(self.other))
        self.sender = self.site.token_client(self.site.add_user("tina"))
        self.sent = 0

    def screener(self, model: Constant, served: frozenset[str] | None = None) -> Screener:
        assert isinstance(self.site.store, FolderStore)
        services = (self.site.settings, self.database, self.site.store)
        return Screener(*services, model, f"w-{model.spec.name}", served_models=lambda: served)

    def choose(self, name: str | None = "other") -> None:
        self.database.transact(lambda session: put_shadow_model(session, ACTOR, name, self.own.name))

    def send(self, count: int = 1) -> None:
        files = [(f"{n}.png", encode(draw(n), "PNG")) for n in range(self.sent, self.sent + count)]
        self.sent += count
        assert post_images(self.sender, *files).status_code == 202

    def note(self) -> int:
        """Do what the sweep does."""
        with self.database.read() as session:
            answers = shadow_scores.find_unnoted(session, self.own.name)
        with self.database.write() as session:
            return shadow_scores.note(session, answers)

    def scores(self) -> list[ShadowScore]:
        with self.database.read() as session:
            return list(session.scalars(select(ShadowScore).order_by(ShadowScore.id)))

    def count(self, table: type) -> int:
        return self.site.count(table)

    def claim(self, max_attempts: int = 3) -> shadow_scores.ShadowImage | None:
        with self.database.write() as session:
            return shadow_scores.claim(session, "other", lease_seconds=60.0, max_attempts=max_attempts, served=None)

    def lose(self) -> None:
        """Free what is held, as the sweep does once its worker is lost."""
        with self.database.write() as session:
            score_leases.free(session, score_leases.find_held(session))


@pytest.fixture
def place(settings: Settings, database: Database, spec: ModelSpec) -> Place:
    return Place(settings, database, spec)


@pytest.fixture
def quick(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Place:
    return Place(settings, sqlite_database, spec)


def test_the_shadow_answers_for_what_the_default_model_answered_since_it_was_chosen(place: Place) -> None:
    place.send()
    place.worker.drain(30)
    place.choose()
    assert place.note() == 0, "nothing of before"
    place.send(3)
    place.worker.drain(30)
    assert (place.note(), place.note()) == (3, 0)
    place.shadow.drain(30)
    scores = place.scores()
    assert [score.label for score in scores] == [Label.NORMAL] * 3
    assert {score.model_version for score in scores} == {place.other.identity}
    assert all(score.finished_at and score.p_pneumonia is not None and score.p_pneumonia < 0.4 for score in scores)
    assert (place.note(), place.count(Prediction)) == (0, 4), "its answers are no predictions"
    assert {row.label for row in place.site.screenings()} == {Label.PNEUMONIA}


def test_what_the_shadow_says_is_in_no_list_export_message_or_page_of_an_image(quick: Place) -> None:
    quick.choose()
    quick.send(2)
    quick.worker.drain(30)
    reader = quick.site.token_client(quick.site.add_user("rita", Role.READER))
    browser = quick.site.browser(quick.site.add_user("rob", Role.READER))
    (screening, _) = quick.site.screenings()
    places = (
        "/worklist",
        "/history?order=suspicious",
        "/history/export?format=csv",
        f"/screenings/{screening.id}",
        "/",
    )

    def look() -> list[object]:
        with quick.database.read() as session:
            jobs_ended = session.scalar(select(func.count()).select_from(Job).where(Job.ended_at.is_not(None)))
        return [
            reader.get("/api/v1/predictions?order=suspicious").json,
            *("other" in browser.get(address).text for address in places[:-1]),
            quick.count(Message), quick.count(Prediction), quick.count(Screening), jobs_ended,
        ]  # fmt: skip

    before = look()
    assert quick.note() == 2
    quick.shadow.drain(30)
    assert [score.label for score in quick.scores()] == [Label.NORMAL] * 2
    assert look() == before
    assert browser.get("/models/other/comparison").status_code == 403
    assert post_images(quick.sender, ("0.png", encode(draw(0), "PNG")), model="other").json["queued"] == 1  # type: ignore[index]


def test_the_shadow_waits_while_any_image_waits(place: Place) -> None:
    place.choose()
    place.send(2)
    place.worker.drain(30)
    place.note()
    place.send()
    place.shadow.drain(30)
    assert [score.finished_at for score in place.scores()] == [None, None]
    assert place.claim() is None
    place.worker.drain(30)
    place.shadow.drain(30)
    assert all(score.finished_at for score in place.scores())


def test_what_waits_for_a_model_that_nobody_serves_holds_no_shadow_up(place: Place) -> None:
    install(place.site, place.own, "unserved")
    place.choose()
    place.send(2)
    place.worker.drain(30)
    place.note()
    assert post_images(place.sender, ("9.png", encode(draw(9), "PNG")), model="unserved").json["queued"] == 1  # type: ignore[index]
    served = frozenset({place.own.name, "other"})
    place.screener(Timid(place.other), served | {"unserved"}).drain(30)
    assert [score.finished_at for score in place.scores()] == [None, None], "its worker has come"
    place.send()
    place.screener(Timid(place.other), served).drain(30)
    assert [score.finished_at for score in place.scores()] == [None, None], "an image of the default model waits, too"
    place.worker.drain(30)
    place.screener(Timid(place.other), served).drain(30)
    assert all(score.finished_at for score in place.scores())


def test_a_shadow_that_fails_touches_no_screening_and_ends(place: Place) -> None:
    place.choose()
    place.send(2)
    place.worker.drain(30)
    place.note()
    before = [(row.state, row.label, row.attempts, row.finished_at) for row in place.site.screenings()]
    broken = place.screener(Broken(place.other))
    broken.drain(30)
    assert [(score.error_code, score.attempts, score.label) for score in place.scores()] == [
        ("worker_lost", 3, None)
    ] * 2
    assert [(row.state, row.label, row.attempts, row.finished_at) for row in place.site.screenings()] == before
    assert {row.state for row in place.site.screenings()} == {State.DONE}
    assert place.note() == 0, "it is not tried for ever"


def test_a_score_whose_worker_was_lost_is_taken_by_the_next_and_the_first_writes_nothing(place: Place) -> None:
    place.choose()
    place.send()
    place.worker.drain(30)
    place.note()
    first = place.claim()
    assert first is not None
    assert place.claim() is None
    place.lose()
    second = place.claim()
    assert second is not None
    assert second.score_id == first.score_id
    with place.database.write() as session:
        assert not shadow_scores.settle(session, first, place.other, None)
    place.lose()
    place.shadow.drain(30)
    (score,) = place.scores()
    assert (score.label, score.attempts) == (Label.NORMAL, 3)


def test_workers_at_once_take_different_images(place: Place) -> None:
    place.choose()
    place.send(8)
    place.worker.drain(30)
    place.note()
    together = threading.Barrier(4)

    def take(_: int) -> list[shadow_scores.ShadowImage]:
        together.wait(30)
        return [held for held in (place.claim() for _ in range(2)) if held is not None]

    with ThreadPoolExecutor(4) as threads:
        taken = [held.score_id for some in threads.map(take, range(4)) for held in some]
    assert len(taken) == len(set(taken))


def test_a_store_that_is_away_costs_no_attempt(quick: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.choose()
    quick.send()
    quick.worker.drain(30)
    quick.note()

    def away(*_: object) -> bytes:
        raise StoreAway("The image store does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(quick.shadow._reader, "read", away)
        with pytest.raises(StoreAway):
            quick.shadow.drain(30)
    assert [(score.attempts, score.lease_until, score.finished_at) for score in quick.scores()] == [(0, None, None)]
    quick.shadow.drain(30)
    assert quick.scores()[0].label is Label.NORMAL


def test_an_image_whose_file_is_gone_gets_its_reason(quick: Place) -> None:
    quick.choose()
    quick.send()
    quick.worker.drain(30)
    quick.note()
    next((Path(quick.site.settings.data_dir) / "store" / "images").rglob("?" * 64)).unlink()
    quick.shadow.drain(30)
    assert [score.error_code for score in quick.scores()] == ["image_missing"]


def test_scores_go_with_their_image(place: Place) -> None:
    place.choose()
    place.send()
    place.worker.drain(30)
    place.note()
    place.shadow.drain(30)
    (screening,) = place.site.screenings()
    removed = retention.delete_job(place.database, screening.job_id, lambda _: None)
    assert (removed.images, place.count(ShadowScore), place.count(Prediction)) == (1, 0, 0)


def test_a_purge_between_finding_and_noting_leaves_nothing(place: Place) -> None:
    place.choose()
    place.send()
    place.worker.drain(30)
    with place.database.read() as session:
        answers = shadow_scores.find_unnoted(session, place.own.name)
    retention.delete_job(place.database, place.site.screenings()[0].job_id, lambda _: None)
    with place.database.write() as session:
        assert shadow_scores.note(session, answers) == 0


def test_answers_committed_a_little_late_are_compared_too(quick: Place) -> None:
    quick.choose()
    quick.send(3)
    quick.worker.drain(30)
    with quick.database.read() as session:
        first, *rest = shadow_scores.find_unnoted(session, quick.own.name)
    with quick.database.write() as session:
        assert shadow_scores.note(session, rest) == 2, "as if the first were not committed yet"
    with quick.database.read() as session:
        assert shadow_scores.find_unnoted(session, quick.own.name) == [first]


def test_nothing_is_noted_or_claimed_once_it_is_ended(place: Place) -> None:
    place.choose()
    place.send(2)
    place.worker.drain(30)
    place.note()
    place.choose(None)
    place.send()
    place.worker.drain(30)
    assert (place.note(), place.claim()) == (0, None)
    place.shadow.drain(30)
    assert [score.finished_at for score in place.scores()] == [None, None]


def test_a_shadow_that_becomes_the_default_model_is_one_no_more(quick: Place) -> None:
    quick.choose()
    quick.database.transact(lambda session: put_default_model(session, ACTOR, "other", quick.own.name))
    with quick.database.read() as session:
        assert shadow_model(session) is None
        actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.sequence)).all()
    assert actions[-3:] == ["shadow_changed", "shadow_changed", "model_activated"]


class Sent:
    """Tickets that were sent, of queues that are empty."""

    def __init__(self) -> None:
        self.models: list[str] = []

    def tickets(self, _model: str) -> int:
        return 0

    def send(self, model: str, _images: int) -> None:
        self.models.append(model)


def test_the_sweep_notes_answers_and_wakes_the_shadow_when_nothing_else_waits(quick: Place) -> None:
    sent = Sent()
    sweep = Sweep(quick.database, sent, quick.site.settings)  # type: ignore[arg-type]  # what it asks of a sender
    quick.choose()
    quick.send(2)
    sweep.note_shadow()
    sweep.once()
    assert sent.models == [quick.own.name]
    quick.worker.drain(30)
    sweep.note_shadow()
    sweep.once()
    assert sent.models == [quick.own.name, "other"]
    quick.shadow.drain(30)
    sweep.once()
    assert len(sent.models) == 2


def test_the_sweep_asks_redis_which_models_are_served(quick: Place, redis_url: str) -> None:
    settings = quick.site.settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    heartbeats, sent = Heartbeats(settings), Sent()
    sweep = Sweep(quick.database, sent, settings)  # type: ignore[arg-type]  # what it asks of a sender
    install(quick.site, quick.own, "unserved")
    quick.choose()
    quick.send()
    quick.worker.drain(30)
    quick.note()
    post_images(quick.sender, ("9.png", encode(draw(9), "PNG")), model="unserved")
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    heartbeats.announce("w-other", "other@1", 1.0)
    sweep.once()
    assert sorted(sent.models) == ["other", "unserved"]
    heartbeats.announce("w-unserved", "unserved@1", 1.0)
    sweep.once()
    assert sorted(sent.models) == ["other", "unserved", "unserved"]
    heartbeats.close()


# ---------------------------------------------------------------- pages and API


def test_an_admin_chooses_a_shadow_model_compares_and_ends_it(quick: Place) -> None:
    admin = quick.site.browser(quick.site.add_user("ada", Role.ADMIN))
    assert "Compare other with test-model?" in plain(admin.get("/models/other/shadow").text)
    answer = press(admin, "/models/other/shadow")
    assert (answer.status_code, answer.location) == (303, "/models/other/comparison")
    assert "No X-ray that both answered yet." in plain(admin.get("/models/other/comparison").text)
    quick.send(3)
    quick.worker.drain(30)
    quick.note()
    assert "3 X-rays more wait for other." in plain(admin.get("/models/other/comparison").text)
    quick.shadow.drain(30)
    said = plain(admin.get("/models/other/comparison").text)
    assert "3 X-rays that both answered." in said
    assert "Both give the same label to 0.0% (0.0% to 56.1%), 0 of 3." in said
    assert "Flagged 3 0" in said
    assert "No X-ray that both answered was reviewed with a label yet." in said
    assert "Shadow model." in admin.get("/models").text
    press(admin, "/models/other/shadow/end", "/models/other/comparison")
    said = plain(admin.get("/models/other/comparison").text)
    assert "other is no shadow model now" in said
    assert "3 X-rays that both answered." in said, "what was compared stays"
    with quick.database.read() as session:
        details = session.scalars(select(AuditEvent.detail).where(AuditEvent.action == "shadow_changed")).all()
    assert details == [{"model": "other", "before": "none"}, {"model": "none", "before": "other"}]


def test_reviews_judge_both_models_on_the_same_images(quick: Place) -> None:
    quick.choose()
    with quick.database.write() as session:
        history = History(session, quick.own)
        at = now()
        job = history.job(at)
        screenings = [history.screen(job, at, p) for p in (0.9, 0.8, 0.7, 0.1, 0.2)]
        history.review_truthfully(screenings, at, [True, True, False, False, False])
        second = [0.8, 0.1, 0.2, 0.6, 0.1]
        for screening, p in zip(screenings, second, strict=True):
            label = Label.PNEUMONIA if p >= 0.4 else Label.NORMAL
            score = ShadowScore(prediction_id=screening.prediction_id, model_name="other", finished_at=at)
            score.p_pneumonia, score.label, score.threshold = p, label, 0.4
            session.add(score)
    admin = quick.site.browser(quick.site.add_user("ada", Role.ADMIN))
    said = plain(admin.get("/models/other/comparison").text)
    assert "test-model 100.0% (34.2% to 100.0%), 2 of 2 66.7% (20.8% to 93.9%), 2 of 3" in said
    assert "other 50.0% (9.5% to 90.5%), 1 of 2 66.7% (20.8% to 93.9%), 2 of 3" in said


@pytest.mark.parametrize(("name", "why"), [("test-model", "cannot be its own shadow"), ("bare", "has no model.keras")])
def test_what_cannot_be_a_shadow_is_refused(quick: Place, spec: ModelSpec, name: str, why: str) -> None:
    install(quick.site, spec, "bare", has_weights=False)
    assert not (quick.site.settings.models_dir / "bare" / WEIGHTS_FILE).exists()
    admin = quick.site.browser(quick.site.add_user("ada", Role.ADMIN))
    answer = press(admin, f"/models/{name}/shadow", "/models")
    assert (answer.status_code, why in answer.text) == (409, True), answer.text
    with quick.database.read() as session:
        assert shadow_model(session) is None


def test_a_program_chooses_and_ends_it(quick: Place) -> None:
    program = quick.site.token_client(quick.site.add_user("script", Role.ADMIN))
    put = program.put(f"{API}/shadow", json={"model": "other"})
    assert {m["name"]: m["is_shadow"] for m in put.json["models"]} == {"test-model": False, "other": True}  # type: ignore[index]
    assert program.put(f"{API}/shadow", json={"model": "other"}).status_code == 409
    assert program.put(f"{API}/shadow", json={"model": None}).status_code == 200
    assert program.put(f"{API}/shadow", json={"model": None}).status_code == 409
    assert program.put(f"{API}/shadow", json={"model": 3}).status_code == 422
