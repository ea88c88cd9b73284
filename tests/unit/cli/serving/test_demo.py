"""`demo` around servers that start, fail, hang and refuse to stop. The real one is run by `make demo`."""

import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.errors import CommandFailed
from cli.main import main
from cli.serving import demo
from cli.serving.demo import has_outcome, running_server
from shared.columns import Result

READY = "print('PneumoScreen is ready at http://127.0.0.1:8123', flush=True)\n"
STOPS = (
    "import pathlib, signal, sys, time\n"
    "def stop(*_):\n    pathlib.Path('stopped').touch(); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in the place of `pneumoscreen serve`."""
    monkeypatch.setattr(demo, "serve_command", lambda _port, _folder: [sys.executable, "-c", script])


def test_the_server_is_stopped_with_a_chance_to_tidy_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, f"{STOPS}print('starting'); {READY}time.sleep(60)")
    with running_server(tmp_path / "data") as url:
        assert url == "http://127.0.0.1:8123"
        assert not Path("stopped").exists()
    assert Path("stopped").exists()


def test_the_server_is_stopped_when_the_screening_breaks_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, f"{STOPS}{READY}time.sleep(60)")
    with pytest.raises(KeyboardInterrupt), running_server(tmp_path / "data"):
        raise KeyboardInterrupt
    assert Path("stopped").exists()


TAKEN = "import time; print('the port is taken', flush=True); "


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('but nothing is screened until that is mended.', flush=True); time.sleep(60)", "no worker did"),
        ("time.sleep(60)", "not ready within"),
    ],
)
def test_a_server_that_fails_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, message: str
) -> None:
    pretend(monkeypatch, TAKEN + script)
    monkeypatch.setattr(demo, "START_SECONDS", 1.5)
    with pytest.raises(CommandFailed, match=message), running_server(tmp_path / "data"):
        pytest.fail("it was never ready")
    assert "the port is taken" in capsys.readouterr().err


def test_a_server_that_does_not_stop_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deaf = f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}time.sleep(60)"
    pretend(monkeypatch, deaf)
    monkeypatch.setattr(demo, "STOP_SECONDS", 0.3)
    began = time.monotonic()
    with running_server(tmp_path / "data"):
        pass
    assert time.monotonic() - began < 20
    assert "was killed" in capsys.readouterr().err


def test_the_settings_of_a_real_installation_do_not_reach_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PNEUMOSCREEN_DATABASE_URL", "postgresql://real")
    monkeypatch.setenv("PNEUMOSCREEN_BACKEND", "openvino")
    show = "import os; print(sorted(n for n in os.environ if n.startswith('PNEUMOSCREEN')), flush=True)\n"
    pretend(monkeypatch, f"{show}{STOPS}{READY}time.sleep(60)")
    with running_server(tmp_path / "data"):
        assert (tmp_path / "serve.log").read_text().splitlines()[0] == "['PNEUMOSCREEN_BACKEND']"


def test_nothing_is_left_when_the_server_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, "raise SystemExit(1)")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "image.png").write_bytes(b"image")
    result = CliRunner().invoke(main, ["demo", "--images", "image.png"])
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_a_results_file_of_the_wrong_kind_is_refused_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "raise SystemExit('was started')")
    result = CliRunner().invoke(main, ["demo", "--output", "r.txt"])
    assert result.exit_code == 2
    assert "was started" not in result.output


@pytest.mark.parametrize(
    ("status", "is_sample", "outcome"),
    [("DONE", True, True), ("REJECTED", True, False), ("REJECTED", False, True), ("FAILED", False, False)],
)
def test_what_counts_as_an_outcome(status: str, is_sample: bool, outcome: bool) -> None:
    assert has_outcome(Result(file_name="a", state=status), is_sample) is outcome
