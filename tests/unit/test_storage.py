"""The image store: complete or absent, never half; by content, never by a user's name."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from shared.errors import StoreFull
from shared.storage import THUMBNAIL, FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def keep(store: FolderStore, data: bytes) -> str:
    with store.receive() as incoming:
        incoming.write(data)
        return store.keep(incoming)


def files(store: FolderStore) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_a_film_is_kept_under_its_hash(store: FolderStore) -> None:
    key = keep(store, b"film")
    assert key == hashlib.sha256(b"film").hexdigest()
    assert files(store) == [f"films/{key[:2]}/{key[2:4]}/{key}"]
    assert store.get(key) == b"film"


def test_the_same_film_is_kept_once(store: FolderStore) -> None:
    assert keep(store, b"film") == keep(store, b"film")
    assert len(files(store)) == 1


def test_what_is_not_kept_leaves_nothing(store: FolderStore) -> None:
    with store.receive() as incoming:
        incoming.write(b"unwanted")
    assert files(store) == []


def test_an_error_while_receiving_leaves_nothing(store: FolderStore) -> None:
    with pytest.raises(RuntimeError, match="client went away"), store.receive() as incoming:
        incoming.write(b"half")
        raise RuntimeError("client went away")
    assert files(store) == []


def test_a_thumbnail_lies_beside_its_film(store: FolderStore) -> None:
    key = keep(store, b"film")
    store.put_derived(key, THUMBNAIL, b"small")
    assert store.get_derived(key, THUMBNAIL) == b"small"


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 63 + "/"])
def test_only_a_hash_is_a_key(store: FolderStore, key: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        store.get(key)


def test_a_full_disk_is_said_and_leaves_no_half_written_file(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("a small disk can only be mounted by root")
    try:
        store = FolderStore(place)
        key = keep(store, b"x" * 1000)
        with pytest.raises(StoreFull, match="no room"), store.receive() as incoming:
            for _ in range(100):
                incoming.write(b"y" * 65536)
            store.keep(incoming)
        assert [Path(name).name for name in files(store)] == [key]
    finally:
        subprocess.run(["umount", str(place)], check=True)
