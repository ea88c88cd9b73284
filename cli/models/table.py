"""Tables of models: one row per model, on the screen, as Markdown and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from shared.errors import ModelUnavailable
from shared.models.folder import WEIGHTS_FILE
from shared.models.spec import ModelSpec

METRICS_FILE: Final = "metrics.json"
_FIGURES: Final = (
    ("accuracy", "accuracy"), ("recall", "recall"), ("specificity", "specificity"), ("auc", "AUC"), ("ece", "ECE"),
)  # fmt: skip
_ESTIMATES: Final = (("framing gap", "framing gap AUC"), ("elsewhere", "elsewhere AUC"))
"""Of `pneumoscreen estimate`: the two that a model's own training set does not bias."""
_DIGITS: Final = 4


@dataclass(frozen=True)
class Row:
    """The data of one model."""

    name: str
    images: int | None = None
    figures: dict[str, Any] | None = None
    """By name, each 0 to 1, with `intervals_95` and, where models were run side by side, `mcnemar`."""
    megabytes: float | None = None
    """Of the weights, all members' for an ensemble, in units of 10^6 bytes; None where they are not in the folder."""
    parameters: int | None = None
    images_per_second: float | None = None
    note: str = ""
    estimates: dict[str, Any] | None = None
    """Results of `pneumoscreen estimate`, by name."""


def weigh(folder: Path, spec: ModelSpec) -> float | None:
    """Return the size of a model's weights in units of 10^6 bytes; None where a file is missing."""
    names = [member.name for member in spec.members] or [folder.name]
    files = [folder.parent / name / WEIGHTS_FILE for name in names]
    return sum(file.stat().st_size for file in files) / 1e6 if all(file.is_file() for file in files) else None


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Read the validation figures in a model folder; None where there are none.

    Raises ModelUnavailable where the file is malformed.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        return None
    try:
        figures = json.loads(path.read_text())["validation"]
        if not isinstance(figures["threshold"], float) or any(
            not isinstance(figures[name], float) or len(figures["intervals_95"][name]) != 2 for name, _ in _FIGURES
        ):
            raise TypeError("a figure is no number")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"Model '{folder.name}': {path} does not hold the figures of a validation ({type(error).__name__}: "
            f"{error}). Restore the model folder."
        ) from error
    chosen: dict[str, Any] = figures
    return chosen


def headings(rows: Sequence[Row]) -> list[str]:
    """Return the column headings; columns that no row fills are left out."""
    found = [title for _, title in _FIGURES]
    if any((row.figures or {}).get("mcnemar") for row in rows):
        found.append("McNemar b, c, p")
    found += [title for name, title in _ESTIMATES if any(name in (row.estimates or {}) for row in rows)]
    found += ["MB", "parameters"]
    if any(row.images_per_second for row in rows):
        found.append("images/s")
    return ["model", "images", *found]


def _cells(row: Row) -> dict[str, str]:
    figures = row.figures or {}
    spans = figures.get("intervals_95", {})
    test = figures.get("mcnemar")
    return {
        "model": row.name,
        "images": "-" if row.images is None else f"{row.images:,}",
        **{title: _figure(figures.get(name), spans.get(name)) for name, title in _FIGURES},
        "McNemar b, c, p": f"{test['b']}, {test['c']}, {_chance(test['p'])}" if test else "-",
        **{title: _auc((row.estimates or {}).get(name)) for name, title in _ESTIMATES},
        "MB": "-" if row.megabytes is None else f"{row.megabytes:.1f}",
        "parameters": "-" if row.parameters is None else f"{row.parameters:,}",
        "images/s": "-" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
    }


def _figure(value: float | None, span: Sequence[float] | None) -> str:
    if value is None or span is None:
        return "-"
    return f"{value:.{_DIGITS}f} ({span[0]:.{_DIGITS}f} to {span[1]:.{_DIGITS}f})"


def _auc(estimate: dict[str, Any] | None) -> str:
    return "-" if estimate is None else _figure(estimate["auc"], estimate["intervals_95"]["auc"])


def _chance(p: float) -> str:
    return f"{p:.{_DIGITS}f}" if p >= 10**-_DIGITS else f"< {10**-_DIGITS:.{_DIGITS}f}"


def screen_table(rows: Sequence[Row], title: str) -> Table:
    """Format the rows for a terminal, with each interval on its own line."""
    table = Table(title=title)
    names = headings(rows)
    for name in names:
        table.add_column(name, justify="left" if name == "model" else "right", overflow="fold")
    for row in rows:
        cells = _cells(row)
        table.add_row(*(Text(cells[name].replace(" (", "\n(")) for name in names))
    return table


def notes(rows: Sequence[Row]) -> list[str]:
    """Return a note for each model that needs one."""
    return [f"{row.name}: {row.note}" for row in rows if row.note]


def markdown_table(rows: Sequence[Row]) -> str:
    """Write the rows as a Markdown table, the notes as a list below it, ending in a newline."""
    names = headings(rows)
    lines = [names, ["---" if name == "model" else "---:" for name in names]]
    lines += [[_cells(row)[name] for name in names] for row in rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n- {note}" for note in notes(rows)) + ("\n" if notes(rows) else "")


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows in the form of the JSON."""
    return [asdict(row) for row in rows]
