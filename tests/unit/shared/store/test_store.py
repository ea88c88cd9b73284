"""The image store: complete or absent, never half; by content, never by a user's name; in a folder and in a bucket."""

import errno
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from shared.db import now
from shared.errors import StoreAway, StoreFull, StoreMisconfigured
from shared.settings import Settings
from shared.store import bucket, durability, key_record
from shared.store.durability import MANY_FILES
from shared.store.encryption import CHUNK, new_key, read_keyring
from shared.store.incoming import IMAGES
from shared.store.store import PREVIEW, THUMBNAIL, FolderStore, ImageStore, open_store
from tests.conftest import make_store
from tests.object_store import bucket_settings, failing_s3, running_s3

UNKNOWN = "0" * 64


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(scope="module")
def buckets(s3: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageStore]:
    """Stores in a bucket, made once: boto3 takes half a second to make a client."""
    plain = Settings(data_dir=tmp_path_factory.mktemp("data")).model_copy(update=bucket_settings(s3))
    sealed = plain.model_copy(update={**bucket_settings(s3), "store_key": SecretStr(new_key())})
    return {"bucket": created(plain), "bucket, encrypted": created(sealed)}


def created(settings: Settings) -> ImageStore:
    """A store of the settings, as a first start makes it."""
    store = open_store(settings)
    store.create()
    return store


@pytest.fixture(params=["folder", "folder, encrypted", "bucket", "bucket, encrypted"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[ImageStore]:
    """Each kind of store in turn; what follows is what the product may rely on."""
    kind: str = request.param
    if "bucket" not in kind:
        key = {"store_key": SecretStr(new_key())} if "encrypted" in kind else {}
        yield created(settings.model_copy(update=key))
        return
    store = request.getfixturevalue("buckets")[kind]
    yield store
    for path in files(store):
        store.files.remove(path)


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return make_store(tmp_path / "store")


def keep(store: ImageStore, data: bytes) -> str:
    with store.receive() as incoming:
        incoming.write(data)
        return store.keep(incoming)


def files(store: ImageStore) -> list[str]:
    """Every file of a store but the record of its keys, those on their way in too."""
    if isinstance(store, FolderStore):
        found = [str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()]
    else:
        found = [item.path for kind in ("images", THUMBNAIL, PREVIEW) for item in store.files.list(kind)]
    return sorted(path for path in found if path != "keys.json")


# ---------------------------------------------------------------- every store


def test_an_image_is_kept_by_its_hash(store: ImageStore) -> None:
    key = keep(store, b"image")
    assert key == hashlib.sha256(b"image").hexdigest()
    assert store.get(key) == b"image"
    assert store.has(key)


@limits(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from([0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]), max_size=4), data=st.data()
)
def test_whatever_comes_in_comes_out_however_it_is_cut(
    store: ImageStore, parts: list[int], data: st.DataObject
) -> None:
    whole = os.urandom(sum(parts))
    with store.receive() as incoming:
        start = 0
        for size in parts:
            incoming.write(whole[start : start + size])
            start += size
        incoming.finish()
        place = data.draw(st.integers(0, len(whole)))
        with incoming.open() as file:
            assert file.read() == whole
            assert file.seek(place) == place
            assert file.read(10) == whole[place : place + 10]
            assert file.seek(-place, os.SEEK_END) == len(whole) - place
            assert file.read() == whole[len(whole) - place :]
        key = store.keep(incoming)
    assert (incoming.size, key) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert store.get(key) == whole


def test_the_same_image_is_kept_once(store: ImageStore) -> None:
    assert keep(store, b"image") == keep(store, b"image")
    assert len(files(store)) == 1


def test_what_is_not_kept_leaves_nothing(store: ImageStore) -> None:
    with store.receive() as incoming:
        incoming.write(b"unwanted")
    assert files(store) == []


def test_an_error_while_receiving_leaves_nothing(store: ImageStore) -> None:
    with pytest.raises(RuntimeError, match="client went away"), store.receive() as incoming:
        incoming.write(b"half")
        raise RuntimeError("client went away")
    assert files(store) == []


def test_a_thumbnail_lies_beside_its_image(store: ImageStore) -> None:
    key = keep(store, b"image")
    store.put_derived(key, THUMBNAIL, b"small")
    assert store.get_derived(key, THUMBNAIL) == b"small"
    assert store.has(key, THUMBNAIL)
    assert not store.has(key, PREVIEW)


def test_what_is_not_there_is_said_so(store: ImageStore) -> None:
    key = keep(store, b"image")
    with pytest.raises(FileNotFoundError):
        store.get(UNKNOWN)
    with pytest.raises(FileNotFoundError):
        store.get_derived(key, THUMBNAIL)
    assert not store.has(UNKNOWN)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 63 + "/", "0" * 96])
def test_only_a_hash_is_a_key(store: ImageStore, key: str) -> None:
    for use in (store.get, lambda key: store.get_derived(key, THUMBNAIL), lambda key: store.remove(key, now())):
        with pytest.raises(ValueError, match="sha256"):
            use(key)


def test_images_are_listed_with_their_age(store: ImageStore) -> None:
    keys = {keep(store, f"image {n}".encode()) for n in range(5)}
    store.put_derived(min(keys), THUMBNAIL, b"small")
    listed = list(store.images())
    assert {image.key for image in listed} == keys
    assert all(image.size >= len("image 0") for image in listed)
    assert all(abs(image.modified_at - now()) < timedelta(minutes=5) for image in listed)
    assert [picture.key for picture in store.images(THUMBNAIL)] == [min(keys)]


def test_removing_takes_the_pictures_too_and_spares_what_is_new(store: ImageStore) -> None:
    key, other = keep(store, b"image"), keep(store, b"other")
    store.put_derived(key, THUMBNAIL, b"small")
    store.put_derived(key, PREVIEW, b"large")
    assert not store.remove(key, now() - timedelta(hours=1))
    assert store.get(key) == b"image"
    assert store.remove(key, now() + timedelta(hours=1))
    assert store.remove(key, now() + timedelta(hours=1)), "once more is no error"
    assert [image.key for image in store.images()] == [other]
    assert len(files(store)) == 1


def test_a_store_that_works_passes_its_check(store: ImageStore) -> None:
    store.check()
    assert [path for path in files(store) if not path.startswith("check")] == []


# ---------------------------------------------------------------- a folder


def test_a_folder_is_laid_out_by_hash(folder_store: FolderStore) -> None:
    key = keep(folder_store, b"image")
    assert files(folder_store) == [f"images/{key[:2]}/{key}"]


class Forced:
    """Watches what is forced to disk, one by one or a whole disk at a time; it is forced all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: set[int] = set()
        self.disks = 0
        fsync, force_disk = os.fsync, durability._force_disk
        monkeypatch.setattr(os, "fsync", lambda handle: (self.places.add(os.fstat(handle).st_ino), fsync(handle))[1])
        monkeypatch.setattr(durability, "_force_disk", lambda folder: self._count(force_disk(folder)))

    def _count(self, forced: bool) -> bool:
        self.disks += forced
        return forced


@pytest.mark.parametrize("is_local", [True, False], ids=["local disk", "network share"])
@pytest.mark.parametrize("count", [1, MANY_FILES, MANY_FILES + 1])
def test_what_was_kept_is_forced_to_disk_with_its_names(
    folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch, count: int, is_local: bool
) -> None:
    monkeypatch.setattr(durability, "_is_local", lambda _: is_local)
    keys = [keep(folder_store, str(number).encode()) for number in range(count)]
    forced = Forced(monkeypatch)
    folder_store.force(keys)
    if forced.disks:
        assert (count, is_local) == (MANY_FILES + 1, True)
        return
    places = [folder_store.root / folder_store.place_of(IMAGES, key) for key in keys]
    assert {path.stat().st_ino for path in [*places, *(path.parent for path in places)]} <= forced.places


def test_a_disk_is_known_by_its_mount() -> None:
    assert not durability._is_local(Path("/proc").stat().st_dev)


@pytest.mark.parametrize("where", ["in its place", "under an earlier key"])
def test_an_image_that_is_there_is_hidden_by_nothing_that_a_loss_of_power_empties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    old, new = new_key(), new_key()
    FolderStore(tmp_path, read_keyring(old)).create()
    key = keep(FolderStore(tmp_path, read_keyring(old)), b"image")
    store = FolderStore(tmp_path, read_keyring(f"{new} {old}" if where == "under an earlier key" else old))
    forced = Forced(monkeypatch)
    keep(store, b"image")
    assert (tmp_path / store.place_of(IMAGES, key)).stat().st_ino in forced.places


def test_a_disk_without_second_names_takes_images_too(
    folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    forced = Forced(monkeypatch)
    key = keep(folder_store, b"image")
    assert folder_store.get(key) == b"image"
    assert (folder_store.root / folder_store.place_of(IMAGES, key)).stat().st_ino in forced.places


def test_what_vanished_before_it_was_forced_is_the_stores_fault(folder_store: FolderStore) -> None:
    key = keep(folder_store, b"image")
    (folder_store.root / files(folder_store)[0]).unlink()
    with pytest.raises(StoreAway, match="image store"):
        folder_store.force([key])


def test_an_image_that_comes_again_mends_its_file(folder_store: FolderStore) -> None:
    key = keep(folder_store, b"image")
    (folder_store.root / files(folder_store)[0]).write_bytes(b"fi\0m")
    keep(folder_store, b"image")
    assert folder_store.get(key) == b"image"


def test_a_folder_that_is_not_there_is_the_stores_fault(folder_store: FolderStore) -> None:
    key = keep(folder_store, b"image")
    folder_store.root.rename(folder_store.root.with_name("away"))
    for use in (folder_store.check, lambda: folder_store.get(key), lambda: keep(folder_store, b"x")):
        with pytest.raises(StoreAway, match="image store"):
            use()


def test_many_threads_that_look_at_the_record_see_it(folder_store: FolderStore) -> None:
    failures: list[Exception] = []

    def look(anew: bool) -> None:
        try:
            for _ in range(1000):
                folder_store.key_record.check(anew=anew)
        except Exception as error:  # noqa: BLE001  # told below, in the thread of the test
            failures.append(error)

    threads = [threading.Thread(target=look, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_store_whose_folder_cannot_be_made_opens_and_says_so_when_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FolderStore(tmp_path / "file" / "store")
    with pytest.raises(StoreAway, match="is not there"):
        store.check()
    with pytest.raises(StoreAway, match="Not a directory"):
        store.create()


def test_what_a_killed_process_left_is_removed_by_age(folder_store: FolderStore) -> None:
    left = folder_store.root / "incoming" / "left"
    left.write_bytes(b"half")
    assert folder_store.remove_unfinished(now() - timedelta(hours=1)) == 0
    os.utime(left, (0, 0))
    assert folder_store.remove_unfinished(now() - timedelta(hours=1)) == 1
    assert files(folder_store) == []


def test_a_full_disk_is_said_and_leaves_no_half_written_file(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    try:
        store = make_store(place)
        key = keep(store, b"x" * 1000)
        with pytest.raises(StoreFull, match="no room"), store.receive() as incoming:
            for _ in range(100):
                incoming.write(b"y" * 65536)
            store.keep(incoming)
        assert [Path(name).name for name in files(store)] == [key]
    finally:
        subprocess.run(["umount", str(place)], check=True)


# ---------------------------------------------------------------- a bucket


def test_an_image_in_a_bucket_is_one_request_to_keep_and_one_to_get(
    s3: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SecretStr(new_key())
    store = created(settings.model_copy(update={**bucket_settings(s3), "store_key": key}))
    monkeypatch.setattr(key_record, "RECORD_SECONDS", 600.0)
    keep(store, b"first")  # looks at the record of keys
    sent: list[str] = []
    store.files._client.meta.events.register(  # type: ignore[attr-defined]
        "before-send.s3", lambda request, **_: sent.append(request.method)
    )
    kept = keep(store, b"image")
    assert store.get(kept) == b"image"
    store.put_derived(kept, THUMBNAIL, b"small")
    assert sent == ["PUT", "GET", "PUT"]


def test_two_prefixes_of_a_bucket_are_two_stores(s3: str, settings: Settings) -> None:
    one, other = [created(settings.model_copy(update=bucket_settings(s3))) for _ in range(2)]
    key = keep(one, b"image")
    assert list(other.images()) == []
    with pytest.raises(FileNotFoundError):
        other.get(key)


def test_images_on_their_way_to_a_bucket_have_no_name_here(s3: str, settings: Settings) -> None:
    store = created(settings.model_copy(update=bucket_settings(s3)))
    with store.receive() as incoming:
        incoming.write(b"half")
        incoming.finish()
        assert [path for path in settings.store.rglob("*") if path.is_file()] == []


def bucket_store(settings: Settings, endpoint: str) -> ImageStore:
    return open_store(settings.model_copy(update=bucket_settings(endpoint)))


USES: dict[str, Callable[[ImageStore], object]] = {
    "keep": lambda store: keep(store, b"image"),
    "get": lambda store: store.get(UNKNOWN),
    "thumbnail": lambda store: store.get_derived(UNKNOWN, THUMBNAIL),
    "list": lambda store: list(store.images()),
    "remove": lambda store: store.remove(UNKNOWN, now()),
    "check": lambda store: store.check(),
}


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at once: how long botocore waits between attempts is its own business."""
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "READ_SECONDS", 1)
    monkeypatch.setattr(bucket, "CHECK_SECONDS", 1)


@pytest.mark.usefixtures("one_attempt")
@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_cannot_be_reached_is_away(settings: Settings, use: str) -> None:
    with pytest.raises(StoreAway, match=r"does not answer \(EndpointConnectionError\)"):
        USES[use](bucket_store(settings, "http://127.0.0.1:1"))


@pytest.mark.usefixtures("one_attempt")
@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (503, "SlowDown", StoreAway, r"refused a request \(SlowDown\). Try again"),
        (500, "InternalError", StoreAway, "InternalError"),
        (404, "NoSuchBucket", StoreAway, "Make the bucket"),
        (403, "AccessDenied", StoreAway, "the right to read, write"),
        (403, "SignatureDoesNotMatch", StoreAway, "STORE_SECRET_KEY"),
        (507, "InsufficientStorage", StoreFull, "no room left"),
        (403, "QuotaExceeded", StoreFull, "no room left"),
    ],
)
def test_what_a_bucket_answers_becomes_a_sentence(
    settings: Settings, status: int, code: str, error: type[Exception], words: str
) -> None:
    with failing_s3(status, code) as url, pytest.raises(error, match=words):
        bucket_store(settings, url).files.write("images/x", b"image")


@pytest.mark.usefixtures("one_attempt")
def test_a_bucket_that_is_slow_is_given_up(settings: Settings) -> None:
    started = time.monotonic()
    with failing_s3(200, delay=60.0) as url, pytest.raises(StoreAway, match="ReadTimeoutError"):
        bucket_store(settings, url).get(UNKNOWN)
    assert time.monotonic() - started < 40


# ---------------------------------------------------------------- which one


@pytest.mark.parametrize(
    "key",
    ["", " , ", "short", "A" * 43, new_key()[:-4], f"{new_key()},no"],
    ids=["empty", "commas", "short", "without padding", "cut", "second is none"],
)
def test_a_key_that_is_none_is_refused_without_being_shown(settings: Settings, key: str) -> None:
    with pytest.raises(StoreMisconfigured) as refused:
        open_store(settings.model_copy(update={"store_key": SecretStr(key)}))
    assert "pneumoscreen store key" in str(refused.value)
    assert "A" * 43 not in str(refused.value)


@pytest.mark.parametrize("url", ["bucket", "https://bucket", "s3://", "s3:// bucket"])
def test_an_address_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="store_url"):
        Settings(store_url=url)


def test_a_setting_that_is_refused_does_not_show_secrets() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(secret_key=SecretStr("hush hush hush hush"), lease_seconds=1, sweep_seconds=5)
    assert "hush" not in str(refused.value)
