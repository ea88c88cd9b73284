"""Print a model's figures in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.report import DISCLAIMER, printable

_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def show_figures(figures: dict[str, Any], points: list[dict[str, Any]], console: Console) -> None:
    """Print the figures of `evaluation.assessment` and a few rows of the threshold table `points`."""
    images = figures["images"]
    console.print(f"{figures['model']} on {images['NORMAL']:,} normal and {images['PNEUMONIA']:,} pneumonia images")
    console.print(_figure_table(figures))
    console.print(f"Intervals by bootstrap, drawn by {figures['intervals_by']}.")
    console.print(_confusion_table(figures["confusion"]))
    for place, prevalence in enumerate(figures["operating_points"]["prevalences"]):
        console.print(_threshold_table(points, place, prevalence, figures["threshold"]))
    if figures["refused"]:
        console.print(f"{len(figures['refused']):,} files get no label and were left out:")
    for name, reason in figures["refused"].items():
        console.print(Text(f"  {printable(name)}: {printable(reason)}"), soft_wrap=True)
    console.print(DISCLAIMER)


def _figure_table(figures: dict[str, Any]) -> Table:
    from evaluation.assessment import FIGURES

    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for key, name, _ in FIGURES:
        table.add_row(name, f"{figures[key]:.4f}", _span(figures["intervals_95"][key]))
    for cause, row in figures["by_cause"].items():
        table.add_row(f"Recall, {row['images']:,} {cause} images", f"{row['recall']:.4f}", _span(row["interval_95"]))
    table.add_row("Threshold", f"{figures['threshold']:.4f}", "")
    return table


def _span(bounds: list[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _confusion_table(matrix: dict[str, int]) -> Table:
    table = Table(title="Confusion matrix")
    table.add_column("images that are")
    table.add_column("called NORMAL", justify="right")
    table.add_column("called PNEUMONIA", justify="right")
    table.add_row("NORMAL", f"{matrix['true_negative']:,}", f"{matrix['false_positive']:,}")
    table.add_row("PNEUMONIA", f"{matrix['false_negative']:,}", f"{matrix['true_positive']:,}")
    return table


def _threshold_table(points: list[dict[str, Any]], place: int, prevalence: float, own: float) -> Table:
    """Show one prevalence's columns; highlight the model's own threshold, also by an arrow in case of no colour."""
    table = Table(
        title=f"Thresholds; PPV, NPV and images flagged per case found at a prevalence of {100 * prevalence:.4g}%",
        caption="> the model's threshold. All rows: --json FILE or --report FILE.html.",
    )
    for heading in ("threshold", "TP", "FP", "FN", "TN", "sens.", "spec.", "PPV", "NPV", "images/case"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in points:
        at = row["at_prevalence"][place]
        is_own = row["threshold"] == own
        table.add_row(
            f"{'> ' if is_own else ''}{row['threshold']:.4f}",
            *(f"{row[key]:,}" for key in _COUNTS),
            *(_or_dash(value, ".4f") for value in (row["sensitivity"], row["specificity"], at["ppv"], at["npv"])),
            _or_dash(at["images_per_case"], ",.2f"),
            style="bold" if is_own else "",
        )
    return table


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
