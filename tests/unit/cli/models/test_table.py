"""The table of models: the figures of a folder, or why there are none."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.models.table import Row, headings, markdown_table, read_metrics
from shared.errors import ModelUnavailable
from shared.models.spec import ModelSpec

NAMES = ("accuracy", "recall", "specificity", "auc", "ece")
GOOD = {"threshold": 0.4, **dict.fromkeys(NAMES, 0.9), "intervals_95": {name: [0.8, 0.95] for name in NAMES}}


def test_figures_are_read_as_they_stand(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) is None
    (tmp_path / "metrics.json").write_text(json.dumps({"validation": GOOD, "more": 1}))
    assert read_metrics(tmp_path) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"validation": 3}',
        json.dumps({"validation": GOOD | {"auc": "0.9"}}),
        json.dumps({"validation": GOOD | {"intervals_95": {}}}),
    ],
    ids=["empty", "list", "no validation", "number", "text for a number", "no intervals"],
)
def test_damaged_figures_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ModelUnavailable, match="does not hold the figures of a validation"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(("p", "shown"), [(1.0, "1.0000"), (0.0312, "0.0312"), (0.0001, "0.0001"), (1e-9, "< 0.0001")])
def test_the_table_in_markdown(p: float, shown: str) -> None:
    rows = [
        Row("one", 50, GOOD | {"mcnemar": {"b": 3, "c": 12, "p": p}}, 4.44, 1_056_731, 281.4),
        Row("other", note="Model 'other' has no model.keras."),
    ]
    head, line, first, second, blank, note = markdown_table(rows).splitlines()
    assert head.split(" | ")[0] == "| model"
    assert len({text.count("|") for text in (head, line, first, second)}) == 1
    assert "| 0.9000 (0.8000 to 0.9500) |" in first
    assert first.endswith(f"| 3, 12, {shown} | 4.4 | 1,056,731 | 281 |")
    assert set(second.split(" | ")[1:-1]) == {"-"}
    assert (blank, note) == ("", "- other: Model 'other' has no model.keras.")


def test_columns_that_nothing_fills_are_left_out() -> None:
    assert headings([Row("one", 50, GOOD, 4.4, 1)])[-2:] == ["MB", "parameters"]


def test_a_package_that_a_command_misses_as_it_runs_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: ModelSpec
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "spec.json").write_text(spec.model_dump_json())
    monkeypatch.setitem(sys.modules, "evaluation.calibrate", None)
    result = CliRunner().invoke(main, ["calibrate", "--undo", "--model", "one", "--models-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "folder 'evaluation' (evaluation.calibrate), which this installation leaves out" in result.output


def test_what_was_estimated_elsewhere_stands_beside_the_validation() -> None:
    gap = {"framing gap": {"auc": 0.97, "intervals_95": {"auc": [0.95, 0.98]}}}
    rows = [Row("one", 50, GOOD, 4.4, 1, estimates=gap), Row("other", 50, GOOD, 4.4, 1)]
    assert headings(rows)[-3:] == ["framing gap AUC", "MB", "parameters"]
    first, second = markdown_table(rows).splitlines()[2:4]
    assert "| 0.9700 (0.9500 to 0.9800) | 4.4 |" in first
    assert "| - | 4.4 |" in second
