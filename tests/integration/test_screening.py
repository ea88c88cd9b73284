"""A worker's way from a claim to written outcomes, with a classifier that answers at once."""

import hashlib
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from shared.db import Database
from shared.errors import StoreAway
from shared.images import decoder, gate
from shared.images.exposure import measure
from shared.images.preprocess import SMALL_BYTES, prepare
from shared.intake import archive
from shared.models import heatmap
from shared.models.spec import ModelSpec
from shared.queue import jobs, leases
from shared.refusals import explain
from shared.settings import Settings
from shared.states import State
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import Prediction, Priority, Screening, Source, User
from tests.classifiers import Constant, synthetic_chest
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from worker.networks.classifier import Answers
from worker.screening import screen
from worker.screening.screen import Screener


@pytest.fixture
def classifier(spec: ModelSpec) -> Constant:
    return Constant(spec)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """One database is enough here; the leases are tested on both."""
    return sqlite_database


@pytest.fixture
def screener(settings: Settings, database: Database, store: FolderStore, classifier: Constant) -> Screener:
    quick = settings.model_copy(update={"lease_seconds": 0.4, "batch_size": 4})
    return Screener(quick, database, store, classifier, "w1")


@pytest.fixture
def submit(database: Database, store: FolderStore, settings: Settings, technician: User, spec: ModelSpec):
    def call(*files: bytes, model: ModelSpec = spec) -> uuid.UUID:
        received = [
            item for number, data in enumerate(files) for item in archive.receive(str(number), [data], store, settings)
        ]
        with database.write() as session:
            job = jobs.open_job(
                session,
                user_id=technician.id,
                name="j",
                source=Source.API,
                model_name=spec.name,
                priority=Priority.BULK,
            )
            jobs.add_images(session, job.id, received, model)
            return job.id

    return call


def rows(database: Database, job_id: uuid.UUID) -> list[Screening]:
    with database.read() as session:
        return list(session.scalars(select(Screening).where(Screening.job_id == job_id).order_by(Screening.position)))


def test_images_are_screened_in_micro_batches_with_thumbnails(screener, submit, database, store, classifier) -> None:
    images = [encode(draw(number, (640, 480)), "PNG") for number in range(6)]
    job_id = submit(*images)
    assert screener.drain(30) is False
    assert classifier.batches == [4, 2]
    assert {row.state for row in rows(database, job_id)} == {State.DONE}
    with database.read() as session:
        predictions = list(session.scalars(select(Prediction)))
    assert len(predictions) == 6
    assert {prediction.label for prediction in predictions} == {"PNEUMONIA"}
    assert all(abs(sum(prediction.probabilities.values()) - 1) < 1e-9 for prediction in predictions)
    for path in (store.root / "images").rglob("?" * 64):
        assert store.get_derived(path.name, THUMBNAIL).startswith(b"\xff\xd8")


def test_each_image_keeps_brightness_and_contrast_of_what_the_model_saw(screener, submit, database, spec) -> None:
    images = [encode(draw(number, (640, 480)), "PNG") for number in range(6)]
    submit(*images)
    screener.drain(30)
    kept = sorted((prediction.brightness, prediction.contrast) for prediction in predictions(database))
    assert kept == sorted(measure(prepare(image, spec)) for image in images)
    assert len(set(kept)) == 6


def test_the_thumbnail_of_a_small_image_waits_until_somebody_looks(screener, submit, database, store) -> None:
    small, much = encode(draw(1)), encode(draw(2, (640, 480)), "PNG")
    assert len(small) < SMALL_BYTES < len(much)
    job_id = submit(small, much)
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}
    keys = [hashlib.sha256(data).hexdigest() for data in (small, much)]
    assert [store.has(key, THUMBNAIL) for key in keys] == [False, True]


def predictions(database: Database) -> list[Prediction]:
    with database.read() as session:
        return list(session.scalars(select(Prediction).order_by(Prediction.id)))


def test_a_model_that_says_where_leaves_a_heat_map_of_each_image(screener, submit, database, classifier) -> None:
    places = np.zeros((2, 3, 3), np.float32)
    places[0, 2, 0] = -6.0  # six less for normal at the top right
    classifier.places = places
    job_id = submit(encode(draw(1)), encode(draw(2)), encode(draw(1)))
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}
    maps = [prediction.heat_map for prediction in predictions(database)]
    assert len(maps) == 2
    assert maps[0] == maps[1] is not None
    levels = np.asarray(heatmap.decode(maps[0]), int)
    assert levels.shape == (2, 3)
    assert levels[0, 2] - levels[0, 0] == pytest.approx(6 * heatmap.STEPS / heatmap.LIMIT, abs=1)


def of_brightness(mean: int) -> Image.Image:
    pixels = np.asarray(draw(1, (80, 80))).astype(float) / 4
    return Image.fromarray((mean + pixels - pixels.mean()).clip(0, 255).astype(np.uint8))


def test_each_image_keeps_its_own_heat_map(screener, submit, database, classifier, monkeypatch) -> None:
    def answer(batch: np.ndarray) -> Answers:
        bright = batch.mean(axis=(1, 2, 3), dtype=np.float32) / 32  # 0 to 8, told apart by image
        places = np.zeros((len(batch), 2, 2, 3), np.float32)
        places[..., 0] = -bright[:, np.newaxis, np.newaxis]
        return Answers(places.mean(axis=(1, 2)), places)

    monkeypatch.setattr(classifier, "answer", answer)
    images = [encode(of_brightness(mean)) for mean in (32, 224, 96)]
    job_id = submit(images[0], b"\xff\xd8\xff" + images[1][3:200], images[1], images[0], images[2])
    screener.drain(30)
    by_id = {prediction.id: prediction for prediction in predictions(database)}
    answered = [by_id[row.prediction_id] for row in rows(database, job_id) if row.prediction_id]
    levels = [heatmap.decode(prediction.heat_map).getpixel((0, 0)) for prediction in answered]
    assert [round((level - heatmap.EVEN) * heatmap.LIMIT / heatmap.STEPS - np.log(2)) for level in levels] == [
        1,
        7,
        1,
        3,
    ]


def test_a_model_that_does_not_say_where_leaves_none(screener, submit, database) -> None:
    submit(encode(draw(1)))
    screener.drain(30)
    assert [prediction.heat_map for prediction in predictions(database)] == [None]


def test_two_models_keep_their_heat_maps_apart(screener, submit, database, store, classifier) -> None:
    submit(encode(draw(1)))
    classifier.places = np.zeros((2, 2, 3), np.float32)
    screener.drain(30)
    newer = Constant(classifier.spec.model_copy(update={"sha256": "1" * 64}))
    newer.places = np.ones((4, 4, 3), np.float32)
    submit(encode(draw(1)), model=newer.spec)
    Screener(screener._settings, database, store, newer, "w2").drain(30)
    assert [heatmap.decode(prediction.heat_map).size for prediction in predictions(database)] == [(2, 2), (4, 4)]


@pytest.fixture
def screen_turned(settings, database, store, submit, spec) -> Callable[[str | None], list[Screening]]:
    """Screen a chest image, upright and turned, by a model that has a gate, where a site ignores some codes."""

    def call(ignored: str | None) -> list[Screening]:
        gated = Constant(spec.model_copy(update={"gate": gate.default((1, 5))}))
        upright = synthetic_chest()
        job_id = submit(encode(upright), encode(upright.transpose(Image.Transpose.ROTATE_90)), model=gated.spec)
        own = settings.model_copy(update={"gate_ignores": ignored})
        Screener(own, database, store, gated, "w1").drain(30)
        return rows(database, job_id)

    return call


def test_an_image_that_the_gate_stops_gets_no_label(screen_turned, database) -> None:
    upright, turned = screen_turned(None)
    assert (upright.state, turned.state) == (State.DONE, State.REJECTED)
    assert (turned.error_code, turned.prediction_id) == ("rotated", None)
    assert "Turn it 90 degrees clockwise" in explain(turned.error_code, turned.error_details).text
    assert len(predictions(database)) == 1


def test_a_site_that_ignores_a_code_has_such_images_screened(screen_turned) -> None:
    assert {row.state for row in screen_turned("inverted,rotated")} == {State.DONE}


def test_the_same_image_twice_in_a_batch_is_predicted_once(screener, submit, database, classifier) -> None:
    job_id = submit(encode(draw(1)), encode(draw(1)))
    screener.drain(30)
    assert classifier.batches == [1]
    first, second = rows(database, job_id)
    assert first.prediction_id == second.prediction_id is not None


def test_a_damaged_image_is_rejected_alone(screener, submit, database) -> None:
    job_id = submit(encode(draw(1)), encode(draw(2, (900, 900)))[:5000], encode(draw(3)))
    screener.drain(30)
    assert [row.state for row in rows(database, job_id)] == [State.DONE, State.REJECTED, State.DONE]


def test_an_image_that_is_gone_is_rejected_and_the_rest_goes_on(screener, submit, database, store) -> None:
    job_id = submit(encode(draw(1)), encode(draw(2)))
    next((store.root / "images").rglob("?" * 64)).unlink()
    screener.drain(30)
    assert sorted(row.state for row in rows(database, job_id)) == [State.DONE, State.REJECTED]


def test_a_store_that_is_away_costs_no_image_an_attempt(screener, submit, database, store) -> None:
    job_id = submit(*[encode(draw(number)) for number in range(5)])
    (store.root / "images").rename(store.root / "away")
    with pytest.raises(StoreAway):
        screener.drain(30)
    assert {(row.state, row.attempts) for row in rows(database, job_id)} == {(State.QUEUED, 0)}
    (store.root / "away").rename(store.root / "images")
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}


def test_a_folder_made_beneath_a_store_that_is_away_rejects_no_image(screener, submit, database, store) -> None:
    job_id = submit(encode(draw(0)))
    away = store.root.rename(store.root.with_name("away"))
    (store.root / "images").mkdir(parents=True)
    with pytest.raises(StoreAway):
        screener.drain(30)
    assert {(row.state, row.attempts) for row in rows(database, job_id)} == {(State.QUEUED, 0)}
    store.root.rename(store.root.with_name("beneath"))
    away.rename(store.root)
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}


def unreadable(store, data: bytes) -> Path:
    """Have each read of an image's file fail with EIO, as a bad sector does, for a superuser, too (proc(5), mem)."""
    place = store.root / store.place_of("images", hashlib.sha256(data).hexdigest())
    place.rename(place.with_name("set-aside"))
    place.symlink_to("/proc/self/mem")
    return place


def mend(place: Path) -> None:
    place.unlink()
    place.with_name("set-aside").rename(place)


def test_one_file_that_cannot_be_read_costs_its_own_attempt_alone(screener, submit, database, store) -> None:
    images = [encode(draw(number)) for number in range(6)]
    job_id = submit(*images)
    place = unreadable(store, images[0])
    assert screener.screen_batch() == 4
    first, *rest = rows(database, job_id)
    assert (first.state, first.attempts) == (State.QUEUED, 1)
    assert [row.state for row in rest] == [State.DONE] * 3 + [State.QUEUED] * 2
    screener.drain(30)
    first, *rest = rows(database, job_id)
    assert (first.state, first.attempts, first.error_code) == (State.FAILED, 3, "image_unreadable")
    assert {row.state for row in rest} == {State.DONE}
    mend(place)
    with database.write() as session:
        assert jobs.retry(session, job_id) == 1
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}


def test_many_files_that_cannot_be_read_do_not_hold_up_a_whole_queue(screener, submit, database, store) -> None:
    images = [encode(draw(number)) for number in range(9)]
    job_id = submit(*images)
    for data in images[:5]:
        unreadable(store, data)
    screener.drain(30)
    assert [row.state for row in rows(database, job_id)] == [State.FAILED] * 5 + [State.DONE] * 4


def test_the_only_image_there_is_may_be_unreadable(screener, submit, database, store) -> None:
    data = encode(draw(1))
    job_id = submit(data)
    unreadable(store, data)
    screener.drain(30)
    assert [(row.state, row.error_code) for row in rows(database, job_id)] == [(State.FAILED, "image_unreadable")]


def test_a_store_of_which_nothing_can_be_read_is_away_and_costs_no_attempt(screener, submit, database, store) -> None:
    images = [encode(draw(number)) for number in range(3)]
    submit(images[0])
    screener.drain(30)
    job_id = submit(*images[1:])
    places = [unreadable(store, data) for data in images]
    with pytest.raises(StoreAway):
        screener.drain(30)
    assert {(row.state, row.attempts) for row in rows(database, job_id)} == {(State.QUEUED, 0)}
    for place in places:
        mend(place)
    screener.drain(30)
    assert {row.state for row in rows(database, job_id)} == {State.DONE}


def test_a_worker_that_may_only_read_the_store_answers_and_tells_a_missing_image(
    screener, submit, database, store
) -> None:
    """A file in the place of the folder that all writing goes through: ENOTDIR, for a superuser, too."""
    images = [encode(draw(number, (640, 480)), "PNG") for number in range(3)]
    job_id = submit(*images)
    place = store.root / store.place_of("images", hashlib.sha256(images[1]).hexdigest())
    place.unlink()
    shutil.rmtree(store.root / "incoming")
    (store.root / "incoming").write_bytes(b"")
    screener.drain(30)
    assert [row.state for row in rows(database, job_id)] == [State.DONE, State.REJECTED, State.DONE]
    assert not any(store.has(hashlib.sha256(data).hexdigest(), THUMBNAIL) for data in images)


def test_a_picture_that_cannot_be_drawn_costs_no_answer(screener, submit, database, classifier, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no picture today")

    monkeypatch.setattr(screen, "thumbnail", broken)
    monkeypatch.setattr(heatmap, "encode", broken)
    classifier.places = np.zeros((2, 2, 3), np.float32)
    job_id = submit(encode(draw(1, (640, 480)), "PNG"))
    screener.drain(30)
    assert [(row.state, row.attempts) for row in rows(database, job_id)] == [(State.DONE, 0)]
    assert [prediction.heat_map for prediction in predictions(database)] == [None]


def test_a_batch_that_fails_as_a_whole_is_tried_one_by_one_and_then_fails(
    screener, submit, database, classifier, monkeypatch
) -> None:
    job_id = submit(*[encode(draw(number)) for number in range(3)])

    def broken(batch: np.ndarray) -> Answers:
        classifier.batches.append(len(batch))
        raise RuntimeError("the network is broken")

    monkeypatch.setattr(classifier, "answer", broken)
    screener.drain(30)
    assert classifier.batches == [3, 1, 1, 1, 1, 1, 1]
    assert {(row.state, row.error_code) for row in rows(database, job_id)} == {(State.FAILED, "worker_lost")}


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        threading.Event().wait(0.02)
    pytest.fail("waited eight seconds in vain")


def test_the_heartbeat_outlives_an_error_and_keeps_the_lease(
    screener, submit, database, classifier, monkeypatch
) -> None:
    job_id = submit(encode(draw(1)))
    beats: list[int] = []
    extend = leases.extend

    def fail_once(session, token, lease_seconds) -> int:
        beats.append(1)
        if len(beats) == 1:
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        return extend(session, token, lease_seconds)

    monkeypatch.setattr(leases, "extend", fail_once)
    classifier.gate.clear()
    worker = threading.Thread(target=screener.drain, args=(30,))
    worker.start()
    wait_for(lambda: len(beats) >= 1)
    with database.read() as session:
        before = leases.find_held(session)
    wait_for(lambda: len(beats) >= 8)
    with database.write() as session:
        assert leases.sweep(session, before, 3).requeued == 0, "the lease is still held"
    classifier.gate.set()
    worker.join(30)
    assert [row.state for row in rows(database, job_id)] == [State.DONE]
    assert len(beats) >= 8


def test_an_image_cancelled_while_it_is_screened_stays_cancelled(screener, submit, database, classifier) -> None:
    job_id = submit(encode(draw(1)))
    classifier.gate.clear()
    worker = threading.Thread(target=screener.drain, args=(30,))
    worker.start()
    for _ in range(400):
        if rows(database, job_id)[0].state is State.RUNNING:
            break
        threading.Event().wait(0.02)
    with database.write() as session:
        assert jobs.cancel(session, job_id) == 1
    classifier.gate.set()
    worker.join(30)
    assert [row.state for row in rows(database, job_id)] == [State.CANCELLED]


def test_an_image_whose_decoder_is_away_counts_an_attempt_and_is_screened_once_it_is_back(
    screener, submit, database, monkeypatch
) -> None:
    job_id = submit(imagecodecs.jpegls_encode(np.asarray(draw(1)).astype(np.uint16) * 16))
    decoder.close()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nowhere/python")
        screener.screen_batch()
    (row,) = rows(database, job_id)
    assert (row.state, row.attempts) == (State.QUEUED, 1)
    screener.drain(30)
    (row,) = rows(database, job_id)
    assert row.state is State.DONE


# ---------------------------------------------------------------- beside other transactions


def test_an_outcome_that_lost_against_another_transaction_is_written_once_more(
    settings: Settings, migrated_postgres_url: str, spec: ModelSpec, store: FolderStore, classifier: Constant
) -> None:
    """A cancellation or an upload of the same images may lock rows in another order than the worker; one is ended."""
    database = Database(migrated_postgres_url)
    site = Site(settings, database)
    site.install_model(spec)
    files = [(f"{n}.png", encode(draw(n), "PNG")) for n in range(2)]
    assert post_images(site.token_client(site.add_user("tina")), *files).status_code == 202
    screener = Screener(settings, database, site.store, classifier, "w1")
    classifier.gate.clear()
    with ThreadPoolExecutor(1) as threads, database.engine.connect() as other, database.engine.connect() as watch:
        screened = threads.submit(screener.drain, 30)
        first, second = (row.id for row in _running(database))
        # The server ends the transaction whose deadlock_timeout ends first: the worker's, after one second.
        other.execute(text("SET deadlock_timeout = '1min'"))
        touch = update(Screening).values(worker="another")
        other.execute(touch.where(Screening.id == second))
        classifier.gate.set()
        _until(lambda: watch.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one() > 0)
        other.execute(touch.where(Screening.id == first))
        other.commit()
        assert screened.result(30) is False
    assert [(row.state, row.attempts) for row in site.screenings()] == [(State.DONE, 0)] * 2
    database.close()


def _running(database: Database) -> list[Screening]:
    """Wait until both images are held, and return them in the order in which they are written."""

    def held() -> list[Screening]:
        with database.read() as session:
            running = select(Screening).where(Screening.state == State.RUNNING).order_by(Screening.turn)
            return list(session.scalars(running))

    _until(lambda: len(held()) == 2)
    return held()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
