"""The data folder is its owner's alone, and what a killed server left in it is removed."""

import os
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from cli.data_folder import (
    SOCKET_FILE,
    UNFINISHED,
    URL_FILE,
    close_to_others,
    make_socket_folder,
    open_to_others,
    remove_leftovers,
    secret_key,
)
from cli.serving.serve import _wait_for_port
from shared.errors import PneumoScreenError


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o000])
def former(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of an earlier version, made under an open umask."""
    before = os.umask(request.param)
    try:
        data = tmp_path / "data"
        for name in ("logs", "redis/appendonlydir", "store/images/ab", "store/incoming", "graphs/one", "samples"):
            (data / name).mkdir(parents=True)
        for name in ("pneumoscreen.db", "pneumoscreen.db-wal", "lock", "url", "logs/web.log", "redis/appendonlydir/a"):
            (data / name).write_text("x")
    finally:
        os.umask(before)
    return data


def test_what_earlier_versions_made_is_closed(former: Path) -> None:
    closed, left = close_to_others(former)
    assert former in closed
    assert left == []
    everything = [former, *former.rglob("*")]
    assert {rights(path) for path in everything if path.is_dir()} == {0o700}
    assert {rights(path) for path in everything if path.is_file()} == {0o600}
    assert close_to_others(former) == ([], [])


def test_the_images_themselves_are_not_walked(former: Path) -> None:
    """There may be millions, all of which are made private; the folder above them is closed."""
    image = former / "store" / "images" / "ab" / "image"
    image.touch(mode=0o644)
    assert image not in list(open_to_others(former))


def test_a_folder_that_holds_other_folders_is_closed_entry_by_entry(former: Path) -> None:
    (former / "somebody's").mkdir(mode=0o755)
    before = rights(former)
    close_to_others(former)
    assert rights(former) == before
    assert rights(former / "somebody's") != 0o700
    assert rights(former / "pneumoscreen.db") == 0o600


def test_a_folder_for_everybody_stays_one(former: Path) -> None:
    former.chmod(0o1777)
    close_to_others(former)
    assert rights(former) == 0o1777


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_key_is_none(tmp_path: Path, content: str) -> None:
    """As a loss of power leaves a file that was not forced to disk."""
    (tmp_path / "secret_key").write_text(content)
    key = secret_key(tmp_path)
    assert len(key) == 64
    assert secret_key(tmp_path) == key


@pytest.mark.parametrize("content", [b"x", b"\xff" * 64])
def test_a_damaged_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret_key").write_bytes(content)
    with pytest.raises(PneumoScreenError, match="secret_key, is damaged"):
        secret_key(tmp_path)


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    folder = make_socket_folder(tmp_path)
    assert rights(folder) == 0o700
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "redis.sock"))
    (tmp_path / URL_FILE).write_text("http://127.0.0.1:1")
    (tmp_path / f"{UNFINISHED}samples").mkdir()
    (tmp_path / f"{UNFINISHED}samples" / "one.png").touch()
    (tmp_path / f"{UNFINISHED}token").touch()
    remove_leftovers(tmp_path)
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    remove_leftovers(tmp_path)


def test_a_disk_without_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    (tmp_path / "data" / SOCKET_FILE / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        make_socket_folder(tmp_path / "data")
    assert list(made.iterdir()) == []
    assert list((tmp_path / "data").glob(f"{UNFINISHED}*")) == []


def test_nothing_but_a_folder_of_sockets_is_ever_removed(tmp_path: Path) -> None:
    other = tmp_path / "pneumoscreen-images"
    other.mkdir()
    (other / "image").write_text("x")
    for text in (str(other), str(tmp_path), "/", "", "\0"):
        (tmp_path / SOCKET_FILE).write_text(text)
        remove_leftovers(tmp_path)
        assert not (tmp_path / SOCKET_FILE).exists()
    assert (other / "image").exists()


def test_a_long_temporary_folder_does_not_make_the_path_of_a_socket_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = make_socket_folder(tmp_path)
    try:
        with socket.socket(socket.AF_UNIX) as place:
            place.bind(str(folder / "redis.sock"))
    finally:
        remove_leftovers(tmp_path)


def test_a_start_after_a_kill_waits_for_the_port_of_the_former_programs(tmp_path: Path) -> None:
    """As where a service manager starts it again at once; anywhere else a taken port is refused at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = taken.getsockname()
        with pytest.raises(PneumoScreenError, match="cannot be used"):
            _wait_for_port(*place, tmp_path)
        (tmp_path / SOCKET_FILE).touch()
        ending = threading.Timer(0.3, taken.close)
        ending.start()
        _wait_for_port(*place, tmp_path)
        ending.join()
