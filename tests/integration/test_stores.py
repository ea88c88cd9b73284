"""Images through web and worker where the store is a bucket, encrypted, slow to answer, away or full."""

import dataclasses
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import select

from shared.db import Base, Database, now
from shared.errors import ImageRejected, StoreAway
from shared.models.spec import ModelSpec
from shared.queue import retention, stray_files
from shared.refusals import Rejection
from shared.settings import Settings
from shared.states import State
from shared.store import bucket, key_record
from shared.store.encryption import new_key, read_keyring
from shared.store.store import PREVIEW, THUMBNAIL, FolderStore, ImageStore, open_store
from shared.tables import Job, Tombstone
from tests.classifiers import Constant
from tests.conftest import draw, encode, make_store
from tests.object_store import bucket_settings, failing_s3, running_s3
from tests.unit.shared.store.test_store import keep
from tests.web_site import Site, make_zip, post_images
from worker.screening.reading import ImageReader
from worker.screening.screen import Screener

IMAGE = encode(draw(1))
UPLOAD = [("a.jpeg", IMAGE), ("w.zip", make_zip({"b.png": encode(draw(2), "PNG"), "c.tiff": encode(draw(3), "TIFF")}))]


@dataclasses.dataclass
class Place:
    """One installation on one store."""

    site: Site
    client: FlaskClient
    store: ImageStore
    screener: Screener

    def page_of(self, screening_id: object, kind: str) -> tuple[int, bytes]:
        answer = self.client.get(f"/screenings/{screening_id}/{kind}", headers={"Accept": "application/json"})
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
def test_images_go_in_are_screened_and_shown(settle: Callable[..., Place], s3: str, kind: str) -> None:
    key = {"store_key": SecretStr(new_key())} if "encrypted" in kind else {}
    place = settle(**key, **(bucket_settings(s3) if "bucket" in kind else {}))
    assert post_images(place.client, *UPLOAD).status_code == 202
    assert place.screener.drain(30) is False
    screenings = place.site.screenings()
    assert [screening.state for screening in screenings] == [State.DONE] * 3
    for screening in screenings:
        for kind_of_picture in ("thumbnail", "image", "image"):
            status, data = place.page_of(screening.id, kind_of_picture)
            assert status == 200
            with Image.open(io.BytesIO(data)) as picture:
                assert picture.format == "JPEG"
    assert len(list(place.store.images())) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (507, "InsufficientStorage")])
def test_an_upload_is_refused_for_a_while_where_the_bucket_is_away_or_full(
    settle: Callable[..., Place], status: int, code: str
) -> None:
    with failing_s3(status, code) as url:
        place = settle(**bucket_settings(url))
        answer = post_images(place.client, *UPLOAD)
        ready = place.client.get("/readyz")
    assert answer.status_code == status
    assert ready.json["checks"]["store"] != "ok"
    assert int(answer.headers["Retry-After"]) > 0
    assert "image store" in answer.json["detail"]
    assert place.site.count(Job) == 0


@pytest.mark.usefixtures("impatient")
def test_a_worker_hands_images_back_while_the_bucket_is_away(settle: Callable[..., Place], s3: str) -> None:
    place = settle(**bucket_settings(s3))
    post_images(place.client, *UPLOAD)
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


ENCRYPTED = pytest.mark.parametrize("encrypted", [False, True], ids=["not encrypted", "encrypted"])
OTHER = encode(draw(9))


def key_of(encrypted: bool) -> dict[str, SecretStr]:
    return {"store_key": SecretStr(new_key())} if encrypted else {}


def file_of(place: Place, key: str, kind: str = "images") -> Path:
    """The one file that an image, or a picture of it, is in."""
    (path,) = [found.path for found in place.store.files.list(kind) if place.store.key_of(found.path) == key]
    return place.site.settings.store / path


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "another X-ray": lambda _: OTHER,
    "a byte": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "emptied": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "itself, not sealed": lambda _: IMAGE + b"\n",
}


@ENCRYPTED
@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_was_changed_in_the_store_is_rejected_alone_and_mended_by_sending_it_again(
    settle: Callable[..., Place], encrypted: bool, change: str
) -> None:
    place = settle(**key_of(encrypted))
    post_images(place.client, *UPLOAD)
    first = place.site.screenings()[0]
    path = file_of(place, hashlib.sha256(IMAGE).hexdigest())
    path.write_bytes(CHANGES[change](path.read_bytes()))
    place.screener.drain(30)
    states = [(s.state, s.error_code) for s in place.site.screenings()]
    assert states == [(State.REJECTED, Rejection.IMAGE_DAMAGED), (State.DONE, None), (State.DONE, None)]
    for kind in ("image", "thumbnail"):
        assert place.page_of(first.id, kind)[0] == 404
    assert b"that replaces the file" in place.page_of(first.id, "image")[1]
    post_images(place.client, UPLOAD[0])
    place.screener.drain(30)
    assert place.site.screenings()[-1].state is State.DONE
    assert place.page_of(first.id, "image")[0] == 200


@ENCRYPTED
@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_was_changed_in_the_store_is_made_anew(
    settle: Callable[..., Place], encrypted: bool, change: str
) -> None:
    place = settle(**key_of(encrypted))
    post_images(place.client, ("a.jpeg", IMAGE))
    place.screener.drain(30)
    (screening,) = place.site.screenings()
    for kind, address in ((THUMBNAIL, "thumbnail"), (PREVIEW, "image")):
        good = place.page_of(screening.id, address)
        path = file_of(place, hashlib.sha256(IMAGE).hexdigest(), kind)
        kept = path.read_bytes()
        path.write_bytes(CHANGES[change](kept))
        assert place.page_of(screening.id, address) == good
        assert len(path.read_bytes()) == len(kept), "and kept anew"
        assert place.store.get_derived(hashlib.sha256(IMAGE).hexdigest(), kind) == good[1]


@ENCRYPTED
def test_the_picture_of_another_image_is_not_shown_in_its_place(settle: Callable[..., Place], encrypted: bool) -> None:
    place = settle(**key_of(encrypted))
    post_images(place.client, ("a.jpeg", IMAGE), ("b.jpeg", OTHER))
    place.screener.drain(30)
    first, second = place.site.screenings()
    good = [place.page_of(image.id, "image") for image in (first, second)]
    keys = [hashlib.sha256(data).hexdigest() for data in (IMAGE, OTHER)]
    file_of(place, keys[0], PREVIEW).write_bytes(file_of(place, keys[1], PREVIEW).read_bytes())
    assert [place.page_of(image.id, "image") for image in (first, second)] == good


# ---------------------------------------------------------------- the record of the store


@ENCRYPTED
@pytest.mark.parametrize("damage", ["damaged", "emptied", "removed", "of another key"])
def test_health_and_uploads_are_told_the_same_of_a_record_that_is_damaged_while_all_runs(
    settle: Callable[..., Place], encrypted: bool, damage: str
) -> None:
    place = settle(**key_of(encrypted))
    assert post_images(place.client, *UPLOAD).status_code == 202
    record = place.site.settings.store / "keys.json"
    kept = record.read_bytes()
    record.unlink() if damage == "removed" else record.write_bytes(
        {"damaged": b"{", "emptied": b"", "of another key": b'{"keys": ["ab"]}'}[damage]
    )
    assert post_images(place.client, ("d.jpeg", encode(draw(4)))).status_code == 503
    assert place.client.get("/readyz").status_code == 503
    assert len(place.site.screenings()) == 3
    record.write_bytes(kept)
    assert place.client.get("/readyz").status_code == 200
    assert post_images(place.client, ("d.jpeg", encode(draw(4)))).status_code == 202


def test_health_and_uploads_are_told_the_same_of_a_buckets_record(
    settle: Callable[..., Place], s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_record, "RECORD_SECONDS", 600.0)
    place = settle(**bucket_settings(s3))
    post_images(place.client, *UPLOAD)
    place.store.files.write("keys.json", b"{")
    assert place.client.get("/readyz").status_code == 503
    assert post_images(place.client, ("d.jpeg", encode(draw(4)))).status_code == 503


@pytest.mark.parametrize("beneath", ["an empty folder", "no folder", "a store of another time"])
def test_a_web_that_starts_while_the_store_is_not_mounted_makes_none_in_its_place(
    settle: Callable[..., Place], beneath: str
) -> None:
    place = settle()
    assert post_images(place.client, *UPLOAD).status_code == 202
    root = place.site.settings.store
    away = root.rename(root.with_name("away"))
    if beneath != "no folder":
        root.mkdir()
    if beneath == "a store of another time":
        (root / "images").mkdir()
        (root / "incoming").mkdir()
    restarted = Site(place.site.settings, place.site.database)
    client = restarted.token_client(restarted.add_user("tom"))
    for application in (client, place.client):
        assert application.get("/readyz").json["checks"]["store"] == "store away"
        assert post_images(application, ("d.jpeg", encode(draw(4)))).status_code == 503
    with pytest.raises(StoreAway):
        place.screener.drain(30)
    assert {(s.state, s.attempts) for s in restarted.screenings()} == {(State.QUEUED, 0)}
    assert [path for path in root.rglob("*") if path.is_file()] == []
    shutil.rmtree(root, ignore_errors=True)
    away.rename(root)
    assert client.get("/readyz").json["checks"]["store"] == "ok"
    assert post_images(client, ("d.jpeg", encode(draw(4)))).status_code == 202
    place.screener.drain(30)
    assert {s.state for s in restarted.screenings()} == {State.DONE}


def test_a_first_start_without_a_database_makes_the_store_once_that_is_there(
    settings: Settings, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'later.db'}")
    site = Site(settings, database)
    assert not (site.settings.store / "keys.json").exists()
    assert site.app.test_client().get("/readyz").status_code == 503
    Base.metadata.create_all(database.engine)
    assert site.app.test_client().get("/readyz").status_code == 200
    database.close()


# ---------------------------------------------------------------- what cannot be read is not gone


@pytest.mark.usefixtures("obedient")
def test_a_listing_that_fails_ends_and_a_purge_removes_nothing(settings: Settings, sqlite_database: Database) -> None:
    store = make_store(settings.store)
    keys = [keep(store, b"%d" % n) for n in range(40)]
    folder = (store.root / store.place_of("images", keys[0])).parent
    folder.chmod(0)
    before = now() + timedelta(days=1)
    for use in (
        lambda: list(store.images()),
        lambda: store.has(keys[0]),
        lambda: store.get(keys[0]),
        lambda: store.remove(keys[0], before),
        lambda: retention.survey(sqlite_database, store, before),
        lambda: list(retention.purge(sqlite_database, store, before)),
    ):
        with pytest.raises(StoreAway, match="Permission denied"):
            use()
    folder.chmod(0o700)
    assert {image.key for image in store.images()} == set(keys)


@pytest.mark.parametrize("fault", ["not mounted", "X-rays not mounted", "another key"])
def test_a_file_that_cannot_be_looked_for_keeps_its_tombstone(
    fault: str, settings: Settings, sqlite_database: Database
) -> None:
    keyring = read_keyring(new_key())
    store = FolderStore(settings.store, keyring)
    store.create()
    key = keep(store, b"image")
    with sqlite_database.write() as session:
        session.add(Tombstone(sha256=key, due_at=now()))
    os.utime(next((store.root / "images").rglob("?" * 96)), (0, 0))
    root = store.root / "images" if fault == "X-rays not mounted" else store.root
    if fault == "another key":
        looking: FolderStore = FolderStore(settings.store, read_keyring(new_key()))
    else:
        looking = store
        root.rename(settings.data_dir / "away")
        if fault == "not mounted":
            root.mkdir()
    with pytest.raises(StoreAway):
        stray_files.remove_tombstoned_files(sqlite_database, looking)
    with sqlite_database.read() as session:
        assert session.scalars(select(Tombstone.sha256)).all() == [key]
    if fault != "another key":
        shutil.rmtree(root, ignore_errors=True)
        (settings.data_dir / "away").rename(root)
    assert stray_files.remove_tombstoned_files(sqlite_database, store) == 1
    assert list(store.images()) == []


def test_a_link_to_another_disk_is_listed_too(settings: Settings, tmp_path: Path) -> None:
    store = make_store(settings.store)
    keys = {keep(store, b"%d" % n) for n in range(20)}
    folder = (store.root / store.place_of("images", min(keys))).parent
    folder.rename(tmp_path / "disk")
    folder.symlink_to(tmp_path / "disk")
    assert {image.key for image in store.images()} == keys


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a link to itself", "a huge file"])
def test_what_is_no_file_of_ours_is_a_damaged_image(settings: Settings, what: str) -> None:
    store = make_store(settings.store)
    key = keep(store, b"image")
    path = store.root / store.place_of("images", key)
    path.unlink()
    {
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a link to itself": lambda: path.symlink_to(path),
        "a huge file": lambda: (path.touch(), os.truncate(path, 1 << 40)),
    }[what]()
    with pytest.raises(ImageRejected, match="image_damaged"):
        store.get(key)


def test_a_process_with_the_wrong_key_takes_and_rejects_nothing(settle: Callable[..., Place]) -> None:
    place = settle(store_key=SecretStr(new_key()))
    post_images(place.client, *UPLOAD)
    wrong_key = SecretStr(new_key())
    wrong_store = open_store(place.site.settings.model_copy(update={"store_key": wrong_key}))
    place.screener._reader = ImageReader(wrong_store, place.site.database)
    with pytest.raises(StoreAway, match="STORE_KEY does not hold"):
        place.screener.drain(30)
    assert {(s.state, s.attempts) for s in place.site.screenings()} == {(State.QUEUED, 0)}
    other = Site(place.site.settings, place.site.database, store_key=wrong_key)
    client = other.token_client(other.add_user("tom"))
    assert post_images(client, ("d.jpeg", encode(draw(4)))).status_code == 503
    assert client.get("/readyz").status_code == 503
