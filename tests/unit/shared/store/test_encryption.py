"""Encryption at rest: nothing to read without the key, nothing changed unnoticed, nothing lost on the way."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from cli.main import main
from shared.db import Base, Database, now
from shared.errors import ImageRejected, StoreAway
from shared.refusals import Rejection
from shared.store.encryption import (
    CHUNK,
    HEADER_BYTES,
    TAG_BYTES,
    Keyring,
    MasterKey,
    SealBroken,
    new_key,
    read_keyring,
    seal,
)
from shared.store.incoming import IMAGES
from shared.store.reseal import Seal, find_unsealed, keep_first_key, seal_anew
from shared.store.store import PREVIEW, THUMBNAIL, FolderStore, ImageStore, _digest
from shared.tables import Image

SECRET = b"SECRET-" * 10_000
PLACE = "images/x"
OLD, NEW = new_key(), new_key()


def keep(store: FolderStore, data: bytes) -> str:
    with store.receive() as incoming:
        incoming.write(data)
        return store.keep(incoming)


def open_with(root: Path, *keys: str) -> FolderStore:
    """Open a store with these keys, and create it where there is none yet."""
    store = FolderStore(root, read_keyring(" ".join(keys)) if keys else None)
    if not (root / "keys.json").exists():
        store.create()
    return store


def file_of(store: FolderStore, key: str, kind: str = "images") -> Path:
    """The one file that an image, or a picture of it, is in."""
    (path,) = [store.root / found.path for found in store.files.list(kind) if store.key_of(found.path) == key]
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


# ---------------------------------------------------------------- one file


@limits(deadline=None, max_examples=40)
@given(data=st.data(), size=st.sampled_from([0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7]))
def test_no_byte_can_be_changed_added_or_cut_off(data: st.DataObject, size: int) -> None:
    key = MasterKey(os.urandom(32))
    keyring, plain = Keyring([key]), os.urandom(size)
    sealed = seal(key, plain, PLACE)
    assert keyring.unseal(sealed, PLACE) == plain
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[at] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(changed), sealed[:at], sealed + b"\0", sealed[:at] + sealed[at + 1 :]):
        with pytest.raises(SealBroken):
            keyring.unseal(broken, PLACE)


def test_chunks_cannot_change_places_and_files_neither() -> None:
    key = MasterKey(os.urandom(32))
    sealed = seal(key, bytes(3 * CHUNK), PLACE)
    step = CHUNK + TAG_BYTES
    head, first, second, last = (
        sealed[:HEADER_BYTES],
        sealed[HEADER_BYTES:][:step],
        sealed[HEADER_BYTES + step :][:step],
        sealed[HEADER_BYTES + 2 * step :],
    )
    for broken in (head + second + first + last, head + first + last, head + first + second):
        with pytest.raises(SealBroken):
            Keyring([key]).unseal(broken, PLACE)
    with pytest.raises(SealBroken):
        Keyring([key]).unseal(sealed, "images/y")


def test_the_same_image_never_looks_the_same() -> None:
    key = MasterKey(os.urandom(32))
    assert seal(key, b"image", PLACE)[-20:] != seal(key, b"image", PLACE)[-20:]


# ---------------------------------------------------------------- a store


def test_neither_images_nor_pictures_nor_hashes_stand_on_disk_in_the_clear(root: Path) -> None:
    store = open_with(root, NEW)
    with store.receive() as incoming:
        incoming.write(SECRET)
        incoming.finish()
        on_its_way = next((root / "incoming").iterdir()).read_bytes()
        key = store.keep(incoming)
    store.put_derived(key, THUMBNAIL, SECRET)
    everything = [path for path in root.rglob("*") if path.is_file()]
    assert len(everything) == 3, "an image, a thumbnail, the record of keys"
    assert not any(SECRET[:70] in data for data in [on_its_way, *[path.read_bytes() for path in everything]])
    assert not any(key in str(path) for path in everything)
    assert key.encode() not in (root / "keys.json").read_bytes()


@pytest.mark.parametrize("change", ["flipped", "cut", "emptied", "exchanged", "plain"])
def test_an_image_that_was_tampered_with_is_rejected_and_mended_by_sending_it_again(root: Path, change: str) -> None:
    store = open_with(root, NEW)
    key, other = keep(store, SECRET), keep(store, b"other")
    path, sealed = file_of(store, key), file_of(store, key).read_bytes()
    path.write_bytes(
        {
            "flipped": sealed[:-30] + bytes([sealed[-30] ^ 1]) + sealed[-29:],
            "cut": sealed[: HEADER_BYTES + CHUNK + TAG_BYTES],
            "emptied": b"",
            "exchanged": file_of(store, other).read_bytes(),
            "plain": SECRET,
        }[change]
    )
    with pytest.raises(ImageRejected, match="image_damaged") as rejected:
        store.get(key)
    assert rejected.value.code is Rejection.IMAGE_DAMAGED
    assert store.get(other) == b"other"
    keep(store, SECRET)
    assert store.get(key) == SECRET


def test_a_damaged_picture_is_as_good_as_none(root: Path) -> None:
    store = open_with(root, NEW)
    key = keep(store, SECRET)
    store.put_derived(key, THUMBNAIL, b"small")
    store.put_derived(key, PREVIEW, b"large")
    file_of(store, key, THUMBNAIL).write_bytes(file_of(store, key, PREVIEW).read_bytes())
    with pytest.raises(FileNotFoundError):
        store.get_derived(key, THUMBNAIL)


@pytest.mark.parametrize("keys", [(), (OLD,)], ids=["no key", "another key"])
def test_without_its_key_a_store_is_away_and_no_image_is_blamed(root: Path, keys: tuple[str, ...]) -> None:
    key = keep(open_with(root, NEW), SECRET)
    stranger = open_with(root, *keys)
    for use in (lambda: stranger.get(key), lambda: keep(stranger, b"x"), stranger.check):
        with pytest.raises(StoreAway, match="STORE_KEY does not hold"):
            use()
    assert len([path for path in root.rglob("*") if path.is_file()]) == 2, "nothing was written"


# ---------------------------------------------------------------- sealing anew


def fill(store: FolderStore) -> dict[str, bytes]:
    images = {keep(store, data): data for data in (b"one", b"two", SECRET)}
    for key in images:
        store.put_derived(key, THUMBNAIL, b"small")
    return images


def holds(store: FolderStore, images: dict[str, bytes]) -> bool:
    return all(store.get(key) == data and store.get_derived(key, THUMBNAIL) == b"small" for key, data in images.items())


def key_ids(root: Path) -> list[str]:
    return list(json.loads((root / "keys.json").read_text())["keys"])


def seal_all(store: ImageStore) -> list[Seal]:
    """Seal every file; one that was put into a folder still to come is met there once more, and left out here."""
    return sorted(seal for seal in seal_anew(store) if seal is not Seal.CURRENT)


@pytest.mark.parametrize("before", [(), (OLD,)], ids=["not encrypted", "another key"])
def test_a_store_in_use_is_sealed_anew(root: Path, before: tuple[str, ...]) -> None:
    images = fill(open_with(root, *before))
    store = open_with(root, NEW, *before)
    sealing = seal_anew(store)
    assert next(sealing) is Seal.RENEWED
    assert holds(store, images), "what is older stays readable meanwhile"
    images[keep(store, b"new")] = b"new"
    store.put_derived(hashlib.sha256(b"new").hexdigest(), THUMBNAIL, b"small")
    assert list(sealing).count(Seal.RENEWED) == 5
    assert list(seal_anew(store)) == [Seal.CURRENT] * 8
    assert find_unsealed(store, [list(images)]) == []
    keep_first_key(store)
    assert holds(store, images)
    assert {image.key for image in store.images()} == set(images)
    assert holds(open_with(root, NEW), images), "the earlier key can go"
    assert key_ids(root) == read_keyring(NEW).ids
    names = [path.name for path in root.rglob("*") if path.is_file() and path.name != "keys.json"]
    assert {len(name) for name in names} == {96}


def test_a_store_that_is_not_encrypted_is_away_until_it_is_told_to_be(root: Path) -> None:
    images = fill(open_with(root))
    store = open_with(root, NEW)
    for use in (store.check, lambda: store.get(min(images)), lambda: keep(store, b"x"), lambda: list(store.images())):
        with pytest.raises(StoreAway, match="store encrypt"):
            use()


@pytest.mark.parametrize("where", ["under its sha256", "under its sealed name"])
def test_an_encrypted_store_takes_nothing_that_is_not_sealed(root: Path, where: str) -> None:
    store = open_with(root, NEW)
    key = keep(store, SECRET)
    store.put_derived(key, PREVIEW, b"large")
    for kind, content in ((IMAGES, SECRET), (PREVIEW, _digest(PREVIEW, key, b"large") + b"large")):
        sealed = file_of(store, key, kind)
        sealed.unlink()
        plain = sealed if where == "under its sealed name" else root / kind / key[:2] / key
        plain.parent.mkdir(exist_ok=True)
        plain.write_bytes(content)
    with pytest.raises((FileNotFoundError, ImageRejected)):
        store.get(key)
    with pytest.raises(FileNotFoundError):
        store.get_derived(key, PREVIEW)


def test_an_image_that_was_exchanged_before_it_is_sealed_is_not_sealed(root: Path) -> None:
    images = fill(open_with(root))
    (root / "images" / min(images)[:2] / min(images)).write_bytes(b"another patient's")
    store = open_with(root, NEW)
    assert seal_all(store) == sorted([Seal.DAMAGED, *[Seal.RENEWED] * 5])
    assert find_unsealed(store, [list(images)]) == [min(images)]


def test_a_damaged_picture_holds_no_key_back(root: Path) -> None:
    images = fill(open_with(root, OLD))
    file_of(open_with(root, OLD), min(images), THUMBNAIL).write_bytes(b"damaged")
    store = open_with(root, NEW, OLD)
    assert set(seal_all(store)) == {Seal.RENEWED}
    with pytest.raises(FileNotFoundError):
        store.get_derived(min(images), THUMBNAIL)


@pytest.mark.parametrize("before", [(), (OLD,)], ids=["not encrypted", "another key"])
def test_a_part_that_was_not_started_again_adds_nothing_under_an_earlier_key(
    root: Path, before: tuple[str, ...]
) -> None:
    late = open_with(root, *before)
    with late.receive() as incoming:
        incoming.write(SECRET)
        list(seal_anew(open_with(root, NEW, *before)))
        with pytest.raises(StoreAway, match="STORE_KEY does not hold"):
            late.keep(incoming)


def test_many_images_are_compared_with_the_rows(root: Path) -> None:
    store = open_with(root, NEW)
    keys = [keep(store, b"%d" % n) for n in range(300)]
    lost = keys[::7]
    for key in lost:
        file_of(store, key).unlink()
    unknown = ["0" * 64, "f" * 64]
    assert find_unsealed(store, [keys[:200], [*keys[200:], *unknown], []]) == [*lost, *unknown]


def test_sealing_that_breaks_off_loses_nothing_and_goes_on(root: Path) -> None:
    images = fill(open_with(root, OLD))
    store = open_with(root, NEW, OLD)
    steps = seal_anew(store)
    next(steps)
    steps.close()
    assert holds(store, images)
    assert len(key_ids(root)) == 2, "both keys are still needed"
    assert holds(open_with(root, NEW, OLD), images)
    assert list(seal_anew(store)).count(Seal.CURRENT) >= 1
    keep_first_key(store)
    assert holds(open_with(root, NEW), images)


def test_an_image_that_is_moved_between_two_looks_is_found(root: Path) -> None:
    key = keep(open_with(root, OLD), SECRET)
    store = open_with(root, NEW, OLD)
    read, looks = store.files.read, []

    def read_late(path: str, most: int) -> bytes:
        looks.append(path)
        if len(looks) == 2:  # the first look, at the new name, has failed
            assert seal_all(open_with(root, NEW, OLD)) == [Seal.RENEWED]
        return read(path, most)

    store.files.read = read_late  # type: ignore[method-assign]
    assert store.get(key) == SECRET


def test_what_cannot_be_sealed_is_told_and_keeps_its_key_on_record(root: Path) -> None:
    store = open_with(root, OLD)
    images = fill(store)
    damaged = min(images)
    file_of(store, damaged).write_bytes(b"damaged")
    (root / "images" / "ab").mkdir(exist_ok=True)  # another may lie there: names are sealed under a new key each time
    (root / "images" / "ab" / ("ab" * 48)).write_bytes(b"of a key that nobody has")
    assert seal_all(open_with(root, NEW, OLD)) == sorted([Seal.DAMAGED, Seal.FOREIGN, *[Seal.RENEWED] * 5])
    assert len(key_ids(root)) == 2


def test_an_image_can_be_removed_under_every_name(root: Path) -> None:
    key = keep(open_with(root), SECRET)
    store = open_with(root, NEW)
    store.key_record.begin_sealing()
    keep(store, SECRET)
    assert [image.key for image in store.images()] == [key, key]
    at = now().replace(year=now().year + 1)
    assert store.remove(key, at)
    assert list(store.images()) == []


# ---------------------------------------------------------------- the command


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["store", *arguments], env=environment)
    return result.exit_code, result.output


def test_a_key_that_is_made_is_taken() -> None:
    code, output = run("key")
    assert code == 0
    assert len(read_keyring(output).ids) == 1
    assert run("key")[1] != output


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Database]:
    """The database that belongs to the store."""
    database = Database(f"sqlite:///{tmp_path / 'pneumoscreen.db'}")
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


def name_images(database: Database, *keys: str) -> None:
    """Write a row for each, as an upload does."""
    with database.write() as session:
        for key in keys:
            session.add(Image(sha256=key, size_bytes=1, width=1, height=1, media_type="image/png"))


def test_the_command_encrypts_a_store_and_says_how_many(tmp_path: Path, rows: Database) -> None:
    images = fill(open_with(tmp_path / "store"))
    name_images(rows, *images)
    code, output = run("encrypt", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=NEW)
    assert (code, output) == (0, "6 files are encrypted now; 0 were before.\n")
    assert holds(open_with(tmp_path / "store", NEW), images)
    assert json.loads((tmp_path / "store" / "keys.json").read_text()) == {"keys": read_keyring(NEW).ids}


def test_the_command_says_what_it_could_not_encrypt(tmp_path: Path, rows: Database) -> None:
    store = open_with(tmp_path / "store", OLD)
    key = keep(store, SECRET)
    file_of(store, key).write_bytes(b"damaged")
    code, output = run("encrypt", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=f"{NEW},{OLD}")
    assert code == 1
    assert "1 files are damaged" in output
    assert len(key_ids(tmp_path / "store")) == 2


def test_no_key_goes_while_the_database_names_an_image_that_was_not_sealed(tmp_path: Path, rows: Database) -> None:
    root = tmp_path / "store"
    images = fill(open_with(root, OLD))
    name_images(rows, *images)
    place = file_of(open_with(root, OLD), min(images))
    place.rename(tmp_path / "image")
    environment = {"PNEUMOSCREEN_STORE_KEY": f"{NEW},{OLD}"}
    code, output = run("encrypt", "--data-dir", str(tmp_path), **environment)
    assert code == 1
    assert min(images) in output
    assert "The earlier keys are still needed" in output
    assert len(key_ids(root)) == 2
    (tmp_path / "image").rename(place)
    assert run("encrypt", "--data-dir", str(tmp_path), **environment)[0] == 0
    assert holds(open_with(root, NEW), images), "and nothing was lost"


def test_keys_go_despite_damage_where_that_is_asked_for(tmp_path: Path, rows: Database) -> None:
    root = tmp_path / "store"
    images = fill(open_with(root, OLD))
    name_images(rows, *images)
    file_of(open_with(root, OLD), min(images)).unlink()
    code, output = run(
        "encrypt", "--despite-damage", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=f"{NEW},{OLD}"
    )
    assert code == 0
    assert min(images) in output
    assert key_ids(root) == read_keyring(NEW).ids


@pytest.mark.usefixtures("obedient")
def test_a_folder_that_cannot_be_read_stops_the_rotation(tmp_path: Path, rows: Database) -> None:
    """The images of one folder are behind an error, as on a failing disk: no key goes, and none of them is lost."""
    root = tmp_path / "store"
    images = fill(open_with(root, OLD))
    name_images(rows, *images)
    folder = file_of(open_with(root, OLD), min(images)).parent
    folder.chmod(0)
    environment = {"PNEUMOSCREEN_STORE_KEY": f"{NEW},{OLD}"}
    code, output = run("encrypt", "--data-dir", str(tmp_path), **environment)
    assert code == 2
    assert "Permission denied" in output
    assert len(key_ids(root)) == 2
    folder.chmod(0o700)
    assert run("encrypt", "--data-dir", str(tmp_path), **environment)[0] == 0
    assert holds(open_with(root, NEW), images)


def test_the_command_marks_a_store_that_lost_its_record(tmp_path: Path, rows: Database) -> None:
    root = tmp_path / "store"
    images = fill(open_with(root, OLD))
    assert "is there already" in run("create", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=OLD)[1]
    (root / "keys.json").unlink()
    code, output = run("create", "--data-dir", str(tmp_path))
    assert (code, "holds encrypted files" in output) == (2, True)
    code, output = run("create", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=f"{NEW} {OLD}")
    assert (code, "holds 3 images" in output) == (0, True)
    assert len(key_ids(root)) == 2
    assert holds(open_with(root, NEW, OLD), images)


def test_a_plain_store_that_lost_its_record_is_not_taken_for_an_encrypted_one(tmp_path: Path, rows: Database) -> None:
    root = tmp_path / "store"
    images = fill(open_with(root))
    name_images(rows, *images)
    (root / "keys.json").unlink()
    assert run("create", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=NEW)[0] == 2
    assert key_ids(root) == []
    assert run("encrypt", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=NEW)[0] == 0
    assert holds(open_with(root, NEW), images)


@pytest.mark.parametrize(("key", "words"), [("", "STORE_KEY is not set"), ("short", "32 bytes in base64")])
def test_the_command_without_a_good_key_says_how_to_make_one(tmp_path: Path, key: str, words: str) -> None:
    code, output = run("encrypt", "--data-dir", str(tmp_path), **({"PNEUMOSCREEN_STORE_KEY": key} if key else {}))
    assert code == 2
    assert words in output
    assert "pneumoscreen store key" in output


def test_the_command_does_not_start_without_an_earlier_key(tmp_path: Path, rows: Database) -> None:
    keep(open_with(tmp_path / "store", OLD), SECRET)
    code, output = run("encrypt", "--data-dir", str(tmp_path), PNEUMOSCREEN_STORE_KEY=NEW)
    assert code == 2
    assert "does not hold" in output
