"""What each part may load, tried in a fresh interpreter; and what each package says of itself."""

import json
import subprocess
import sys
import tomllib

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
        pytest.param("import web.app", [*NETWORKS, "worker", "evaluation", "training"], id="web"),
        pytest.param("import worker.app, worker.tasks", [*NETWORKS, *PAGES, "web"], id="worker-parent"),
        pytest.param("import cli.main", [*NETWORKS, *PAGES, "sqlalchemy", "worker"], id="cli"),
        pytest.param(
            "import shared.queue.jobs, shared.queue.leases, shared.queue.tickets, shared.images.preprocess",
            [*NETWORKS, *PAGES],
            id="shared",
        ),
        pytest.param(
            "import evaluation.report, evaluation.calibrate, evaluation.compare",
            NETWORKS,
            id="evaluation",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "from cli.main import main; main(['train', 'list'], standalone_mode=False)",
            ["tensorflow"],
            id="train-list",
            marks=pytest.mark.long,
        ),
        pytest.param("import shared.submission.submit", [*NETWORKS, *PAGES, "web", "celery"], id="submission"),
    ],
)
def test_a_fresh_interpreter_stays_light(code: str, never: list[str]) -> None:
    assert loaded_after(code, never) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_after("import flask", ["flask", "keras"]) == ["flask"]


FOLDERS = ["web", "worker", "shared", "evaluation", "training", "cli", "benchmarks", "chaos", "fuzz", "migrations"]
PACKAGES = sorted(
    str(path.parent.relative_to(ROOT))
    for top in FOLDERS
    for path in (ROOT / top).rglob("__init__.py")
    if "peers" not in path.parts and ".venv" not in path.parts
)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_what_it_is_in_ten_lines(package: str) -> None:
    lines = (ROOT / package / "README.md").read_text().splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[0] == f"# {package}"


def test_every_file_has_a_name_that_says_something() -> None:
    vague = {"utils", "helpers", "manager", "common"}
    assert [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts and path.stem in vague] == []


def test_every_part_of_shared_is_open_or_closed_to_training_by_name() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (closed,) = (contract["protected_modules"] for contract in contracts if contract["type"] == "protected")
    parts = {f"shared.{path.stem}" for path in (ROOT / "shared").iterdir() if path.suffix == ".py" or path.is_dir()}
    open_ = {"shared.errors", "shared.images", "shared.models", "shared.refusals"}
    assert parts - {"shared.__init__", "shared.__pycache__"} == set(closed) | open_
