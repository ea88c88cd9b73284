"""`worker --check` asks the worker process alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from shared.process import liveness
from shared.process.liveness import Liveness, live_processes, liveness_folder
from shared.settings import PREFIX
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return liveness_folder()


@pytest.fixture
def alive(folder: Path) -> Iterator[Liveness]:
    made = Liveness(folder, 4711)
    made.beat()
    yield made
    made.end()


def check() -> int:
    return CliRunner().invoke(main, ["worker", "--check"]).exit_code


@pytest.mark.usefixtures("alive")
def test_a_process_that_beats_is_alive_and_no_redis_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", "redis://127.0.0.1:1/0")
    assert check() == 0


@pytest.mark.usefixtures("folder")
def test_no_process_is_not_alive() -> None:
    assert check() == 1


def test_a_process_that_no_longer_beats_is_not_alive(alive: Liveness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "LOST_AFTER_SECONDS", -1.0)
    assert check() == 1


def test_a_clock_that_is_set_changes_nothing(alive: Liveness, folder: Path) -> None:
    os.utime(folder / "4711", (0, 0))
    assert check() == 0


def test_a_process_that_ended_is_gone(alive: Liveness, folder: Path) -> None:
    alive.end()
    assert live_processes(folder) == []


def test_a_file_that_somebody_removed_is_written_anew(alive: Liveness, folder: Path) -> None:
    (folder / "4711").unlink()
    alive.beat()
    assert live_processes(folder) == [4711]


def test_files_of_killed_processes_and_of_another_boot_do_not_count(folder: Path, alive: Liveness) -> None:
    for name, text in (("1", f"{10**19:020}"), ("2", "half"), ("3", ""), ("readme", f"{1:020}"), ("5", f"{1:020}")):
        (folder / name).write_text(text)
    assert live_processes(folder) == [4711]
    Liveness(folder, 6).beat()
    assert not (folder / "5").exists(), "what is older than ten minutes is removed"


def test_a_folder_of_somebody_else_is_not_believed(alive: Liveness, folder: Path, caplog) -> None:
    folder.chmod(0o777)
    assert check() == 1
    Liveness(folder, 7).beat()
    assert "belongs to somebody else" in caplog.text


def test_the_check_loads_little() -> None:
    """A probe runs every few seconds, beside the work."""
    code = (
        "import sys; from cli.main import main; sys.argv = ['pneumoscreen', 'worker', '--check']\n"
        "try: main()\nexcept SystemExit: print(sorted({'redis', 'celery', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
