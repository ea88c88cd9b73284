"""The table of commands: light to list, clear when something is missing."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from shared.errors import StoreFull
from tests.conftest import ROOT


@pytest.fixture
def table() -> Iterator[dict[str, tuple[str, str]]]:
    known = dict(COMMANDS)
    yield COMMANDS
    COMMANDS.clear()
    COMMANDS.update(known)


def test_help_is_quick_and_loads_no_command() -> None:
    script = (
        "import json, sys\nfrom cli.main import main\nsys.argv = ['pneumoscreen', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(json.dumps(sorted(sys.modules)))"
    )
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    *shown, modules = run.stdout.splitlines()
    assert all(any(line.strip().startswith(name) for line in shown) for name in COMMANDS)
    heavy = {"keras", "tensorflow", "openvino", "flask", "numpy", "httpx", "rich", "sqlalchemy", "pydantic"}
    assert heavy.isdisjoint(json.loads(modules))
    # 0.1 s on a free core; the rest is for a machine that is busy.
    assert seconds < 2


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there_and_helps(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_commands_load_no_network_and_no_pages() -> None:
    modules = ", ".join(
        COMMANDS[name][0].partition(":")[0] for name in ("screen", "users", "tokens", "doctor", "demo", "serve")
    )
    script = (
        f"import sys, {modules}; print([n for n in ('keras', 'tensorflow', 'openvino', 'flask') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_an_unknown_command_is_wrong_use() -> None:
    result = CliRunner().invoke(main, ["scren"])
    assert result.exit_code == 2
    assert "No such command 'scren'" in result.output


def test_a_package_that_is_not_installed_is_named(table: dict[str, tuple[str, str]]) -> None:
    table["screen"] = ("not_installed_here.part:screen", "")
    result = CliRunner().invoke(main, ["screen"])
    assert result.exit_code == 2
    assert "needs the Python package 'not_installed_here'" in result.output


def test_an_error_on_purpose_is_one_sentence(
    table: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def full() -> None:
        raise StoreFull("No room.")

    monkeypatch.setattr("cli.errors.full", full, raising=False)
    table["full"] = ("cli.errors:full", "")
    result = CliRunner().invoke(main, ["full"])
    assert (result.exit_code, result.output) == (2, "Error: No room.\n")


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("pneumoscreen, version ")
