"""What the documents say is what the code does."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.main import COMMANDS, main
from shared.settings import PREFIX, Settings
from shared.states import MOVES
from shared.tables import Source
from tests.conftest import DEFAULT_MODEL, ROOT

README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_stands_in_the_operations_table_with_its_meaning() -> None:
    rows = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \| [^|]+ \| ([^|]+) \|$", OPERATIONS, flags=re.MULTILINE))
    assert rows == {name.upper(): field.description for name, field in Settings.model_fields.items()}


def test_every_default_in_the_table_is_the_one_in_force() -> None:
    defaults = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \| ([^|]+) \|", OPERATIONS, flags=re.MULTILINE))
    for name, field in Settings.model_fields.items():
        value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        if name != "models_dir":  # its default is a folder of the checkout
            assert defaults[name.upper()] == ("-" if value in (None, "") else str(value)), name


def test_every_route_of_the_api_is_documented() -> None:
    from web.app import create_app

    http = (ROOT / "docs" / "http.md").read_text()
    rules = create_app(Settings(secret_key=SecretStr("for the routes only"))).url_map.iter_rules()
    paths = {re.sub(r"<uuid:\w+>", "<id>", str(rule)) for rule in rules if str(rule).startswith("/api/")}
    assert len(paths) >= 8
    assert [path for path in sorted(paths) if path not in http] == []


def test_every_source_of_a_job_is_documented() -> None:
    http = (ROOT / "docs" / "http.md").read_text()
    assert [source for source in Source if f"`{source}`" not in http] == []


def test_the_threat_model_names_tests_that_are_there() -> None:
    model = (ROOT / "docs" / "threat-model.md").read_text()
    named = set(re.findall(r"\b(?:unit|integration|model|browser)/[\w/]*test_\w+\.py", model))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / "tests" / path).is_file()] == []


def test_make_alone_prints_every_target_with_help() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    assert [target for target in phony if f"make {target}" not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) >= 4


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_link_to_a_file_leads_somewhere(path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make (\w+)", README + OPERATIONS))))
def test_every_make_target_named_in_the_documents_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_picture_of_the_states_is_the_table_of_moves() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^    ([A-Z]+) --> ([A-Z]+): (\w+)$", picture, flags=re.MULTILINE))
    assert drawn == {(state.value, to.value, event.value) for (state, event), to in MOVES.items()}


def test_the_table_of_models_is_what_compare_prints(tmp_path: Path) -> None:
    table = tmp_path / "models.md"
    result = CliRunner().invoke(main, ["compare", "--markdown", str(table)])
    assert result.exit_code == 0, result.output
    assert table.read_text().strip() in README


@pytest.mark.parametrize("line", ["random patients", "reframed", "elsewhere", "framing gap"])
def test_the_estimates_of_the_default_are_those_of_its_figures(line: str) -> None:
    found = json.loads((ROOT / "models" / DEFAULT_MODEL / "metrics.json").read_text())["estimates"][line]
    cells = [
        f"{found[name]:.3f} ({low:.3f} to {high:.3f})"
        for name in ("accuracy", "recall", "specificity", "auc", "ece")
        for low, high in [found["intervals_95"][name]]
    ]
    images = sum(found["images"].values())
    assert f"| {line}, {images} images | {' | '.join(cells)} |" in README
