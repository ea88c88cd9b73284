"""Logs of the supervised programs: renamed, deleted, without room, away. The programs and the writer go on."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.serving.log_writer import LogFile, copy
from tests.integration.conftest import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of logs that nobody has made yet, in a data folder that is there."""
    return tmp_path / "logs"


def test_a_log_is_made_for_its_owner_alone(folder: Path) -> None:
    LogFile(folder / "web.log").write(b"one\n")
    assert (folder / "web.log").read_bytes() == b"one\n"
    assert ((folder / "web.log").stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("harm", ["renamed", "deleted", "folder deleted"])
def test_a_log_that_is_gone_from_its_place_is_written_anew(folder: Path, harm: str) -> None:
    log = LogFile(folder / "web.log")
    log.write(b"before\n")
    if harm == "renamed":
        (folder / "web.log").rename(folder / "web.log-20261128")
    elif harm == "deleted":
        (folder / "web.log").unlink()
    else:
        shutil.rmtree(folder)
    log.write(b"after\n")
    assert (folder / "web.log").read_bytes() == b"after\n"
    if harm == "renamed":
        assert (folder / "web.log-20261128").read_bytes() == b"before\n"


def test_a_data_folder_that_is_away_is_not_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    log = LogFile(data / "logs" / "web.log")
    log.write(b"before\n")
    data.rename(tmp_path / "away")
    log.write(b"lost 1\n")
    log.write(b"lost 2\n")
    assert not data.exists()
    (tmp_path / "away").rename(data)
    log.write(b"after\n")
    lines = (data / "logs" / "web.log").read_text().splitlines()
    assert lines == ["before", "--- 14 bytes could not be written here: No such file or directory", "after"]


def test_a_disk_without_room_costs_lines_and_says_how_many(folder: Path) -> None:
    folder.mkdir()
    (folder / "web.log").symlink_to("/dev/full")
    log = LogFile(folder / "web.log")
    log.write(b"0123456789\n")
    log.write(b"0123456789\n")
    (folder / "web.log").unlink()
    log.write(b"room\n")
    lines = (folder / "web.log").read_text().splitlines()
    assert lines == ["--- 22 bytes could not be written here: No space left on device", "room"]


def test_a_log_over_its_limit_is_renamed_and_nothing_is_copied(folder: Path) -> None:
    log = LogFile(folder / "web.log", limit=10)
    for line in (b"first 1\n", b"second 2\n", b"third 3\n"):
        log.write(line)
    assert (folder / "web.log").read_bytes() == b"third 3\n"
    assert (folder / "web.log.1").read_bytes() == b"second 2\n"


def test_a_log_over_its_limit_that_cannot_be_renamed_is_emptied(folder: Path) -> None:
    (folder / "web.log.1" / "something").mkdir(parents=True)
    log = LogFile(folder / "web.log", limit=10)
    log.write(b"first 1\n")
    log.write(b"second 2\n")
    assert (folder / "web.log").read_bytes() == b"second 2\n"


@pytest.fixture
def pipes() -> Iterator[dict[str, tuple[int, int]]]:
    made = {name: os.pipe() for name in ("web", "worker")}
    yield made
    for reading, writing in made.values():
        for end in (reading, writing):
            try:
                os.close(end)
            except OSError:  # the test has closed it
                continue


def test_each_program_has_its_own_log_and_the_writer_ends_with_the_last(folder: Path, pipes) -> None:
    for name, (_, writing) in pipes.items():
        os.write(writing, f"of {name}\n".encode())
        os.close(writing)
    copy(folder, {name: reading for name, (reading, _) in pipes.items()})
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "web.log": "of web\n",
        "worker.log": "of worker\n",
    }


def test_signals_that_stop_programs_do_not_stop_their_log(folder: Path, pipes) -> None:
    reading, writing = pipes["web"]
    command = [sys.executable, "-m", "cli.serving.log_writer", str(folder), f"web={reading}"]
    writer = subprocess.Popen(command, pass_fds=[reading])
    os.write(writing, b"one\n")
    wait_until((folder / "web.log").exists, 20, "the log")
    writer.terminate()
    os.write(writing, b"two\n")
    os.close(writing)
    assert writer.wait(20) == 0
    assert (folder / "web.log").read_text() == "one\ntwo\n"
