"""The walls of the house, tried in a fresh interpreter."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

NETWORKS = ["tensorflow", "keras", "openvino"]
PAGES = ["flask", "werkzeug"]


def loaded_after(code: str, names: list[str]) -> list[str]:
    script = f"{code}\nimport json, sys; print(json.dumps([n for n in {names!r} if n in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("code", "never"),
    [
        pytest.param("import web.app", [*NETWORKS, "worker", "training"], id="web"),
        pytest.param("import worker.app, worker.tasks", [*NETWORKS, *PAGES, "web"], id="worker-parent"),
        pytest.param("import cli.main", [*NETWORKS, *PAGES, "sqlalchemy", "worker"], id="cli"),
        pytest.param(
            "import shared.queue.jobs, shared.queue.leases, shared.queue.tickets, shared.images.preprocess",
            [*NETWORKS, *PAGES],
            id="shared",
        ),
        pytest.param("import shared.submission.submit", [*NETWORKS, *PAGES, "web", "celery"], id="submission"),
    ],
)
def test_a_fresh_interpreter_stays_light(code: str, never: list[str]) -> None:
    assert loaded_after(code, never) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_after("import flask", ["flask", "keras"]) == ["flask"]


@pytest.mark.parametrize("folder", ["web", "worker", "shared", "training", "cli"])
def test_each_folder_says_what_it_is_in_ten_lines(folder: str) -> None:
    lines = (ROOT / folder / "README.md").read_text().splitlines()
    assert 3 <= len(lines) <= 10


def test_every_file_has_a_name_that_says_something() -> None:
    vague = {"utils", "helpers", "manager", "common"}
    assert [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts and path.stem in vague] == []
