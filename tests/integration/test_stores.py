"""Films through web and worker where the store is a bucket, encrypted, slow to answer, away or full."""

import dataclasses
import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr

from shared import bucket
from shared.db import Database
from shared.encryption import new_key
from shared.errors import Rejection, StoreAway
from shared.modelspec import ModelSpec
from shared.settings import Settings
from shared.states import State
from shared.storage import FilmStore, open_store
from shared.tables import Job
from tests.conftest import draw, encode
from tests.object_store import bucket_settings, failing_s3, running_s3
from tests.web_site import Site, make_zip, post_films
from worker.classifier import Answers
from worker.reading import ImageReader
from worker.screening import Screener

FILM = encode(draw(1))
UPLOAD = [("a.jpeg", FILM), ("w.zip", make_zip({"b.png": encode(draw(2), "PNG"), "c.tiff": encode(draw(3), "TIFF")}))]


class Constant:
    """A classifier that says the same of every film."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        return Answers(np.tile(np.array([0.0, 1.0, 2.0], np.float32), (len(batch), 1)), None)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return self.answer(batch).logits


@dataclasses.dataclass
class Place:
    """One installation on one store."""

    site: Site
    client: FlaskClient
    store: FilmStore
    screener: Screener

    def page_of(self, screening_id: object, kind: str) -> tuple[int, bytes]:
        answer = self.client.get(f"/films/{screening_id}/{kind}", headers={"Accept": "application/json"})
        return answer.status_code, answer.data


@pytest.fixture
def settle(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Callable[..., Place]:
    def call(**changes: object) -> Place:
        site = Site(settings, sqlite_database, model=spec.name, **changes)
        screener = Screener(site.settings, sqlite_database, site.store, Constant(spec), "w1")
        return Place(site, site.token_client(site.add_user("tina")), site.store, screener)

    return call


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "READ_SECONDS", 1)
    monkeypatch.setattr(bucket, "CHECK_SECONDS", 1)


@pytest.mark.parametrize("kind", ["folder, encrypted", "bucket", "bucket, encrypted"])
def test_films_go_in_are_screened_and_shown(settle: Callable[..., Place], s3: str, kind: str) -> None:
    key = {"store_key": SecretStr(new_key())} if "encrypted" in kind else {}
    place = settle(**key, **(bucket_settings(s3) if "bucket" in kind else {}))
    assert post_films(place.client, *UPLOAD).status_code == 202
    assert place.screener.drain(30) is False
    screenings = place.site.screenings()
    assert [screening.state for screening in screenings] == [State.DONE] * 3
    for screening in screenings:
        for kind_of_picture in ("thumbnail", "image", "image"):
            status, data = place.page_of(screening.id, kind_of_picture)
            assert status == 200
            with Image.open(io.BytesIO(data)) as picture:
                assert picture.format == "JPEG"
    assert len(list(place.store.films())) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (507, "InsufficientStorage")])
def test_an_upload_is_refused_for_a_while_where_the_bucket_is_away_or_full(
    settle: Callable[..., Place], status: int, code: str
) -> None:
    with failing_s3(status, code) as url:
        place = settle(**bucket_settings(url))
        answer = post_films(place.client, *UPLOAD)
        ready = place.client.get("/readyz")
    assert answer.status_code == status
    assert ready.json["checks"]["store"] != "ok"
    assert int(answer.headers["Retry-After"]) > 0
    assert "image store" in answer.json["detail"]
    assert place.site.count(Job) == 0


@pytest.mark.usefixtures("impatient")
def test_a_worker_hands_films_back_while_the_bucket_is_away(settle: Callable[..., Place], s3: str) -> None:
    place = settle(**bucket_settings(s3))
    post_films(place.client, *UPLOAD)
    healthy, files = place.site.settings, place.store.files
    files._settings = healthy.model_copy(update={"store_endpoint": "http://127.0.0.1:1"})
    files.__dict__.pop("_client", None)
    with pytest.raises(StoreAway, match="does not answer"):
        place.screener.drain(30)
    assert {(s.state, s.attempts) for s in place.site.screenings()} == {(State.QUEUED, 0)}
    assert place.page_of(place.site.screenings()[0].id, "image")[0] == 503
    files._settings = healthy
    files.__dict__.pop("_client", None)
    assert place.screener.drain(30) is False
    assert {s.state for s in place.site.screenings()} == {State.DONE}


def test_a_film_that_was_changed_in_the_store_is_rejected_alone_and_mended_by_sending_it_again(
    settle: Callable[..., Place],
) -> None:
    place = settle(store_key=SecretStr(new_key()))
    post_films(place.client, *UPLOAD)
    first = place.site.screenings()[0]
    (path,) = [
        place.site.settings.store / found.path
        for found in place.store.files.list("films")
        if place.store.unseal(found.path, place.store.files.read(found.path), "films", place.store.key_of(found.path))
        == FILM
    ]
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    place.screener.drain(30)
    states = [(s.state, s.error_code) for s in place.site.screenings()]
    assert states == [(State.REJECTED, Rejection.FILM_DAMAGED), (State.DONE, None), (State.DONE, None)]
    status, data = place.page_of(first.id, "image")
    assert (status, b"Send the film again" in data) == (404, True)
    post_films(place.client, UPLOAD[0])
    place.screener.drain(30)
    assert place.site.screenings()[-1].state is State.DONE


def test_a_process_with_the_wrong_key_takes_and_rejects_nothing(settle: Callable[..., Place]) -> None:
    place = settle(store_key=SecretStr(new_key()))
    post_films(place.client, *UPLOAD)
    wrong_key = SecretStr(new_key())
    wrong_store = open_store(place.site.settings.model_copy(update={"store_key": wrong_key}))
    place.screener._reader = ImageReader(wrong_store, place.site.database)
    with pytest.raises(StoreAway, match="STORE_KEY does not hold"):
        place.screener.drain(30)
    assert {(s.state, s.attempts) for s in place.site.screenings()} == {(State.QUEUED, 0)}
    other = Site(place.site.settings, place.site.database, store_key=wrong_key)
    client = other.token_client(other.add_user("tom"))
    assert post_films(client, ("d.jpeg", encode(draw(4)))).status_code == 503
    assert client.get("/readyz").status_code == 503
