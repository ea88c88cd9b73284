"""Print the results for people, on standard output."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.report import DISCLAIMER, printable
from shared.columns import Result
from shared.models.spec import Label
from shared.states import State

MOST_ROWS: Final = 40
"""More rows than this are summarised."""
MOST_SUSPICIOUS: Final = 20

_STYLES: Final = {State.DONE: "", State.REJECTED: "yellow", State.FAILED: "red", State.CANCELLED: "dim"}


def show(results: Sequence[Result], console: Console) -> None:
    """Print every row, or, of many, the counts, the most suspicious ones and all without a result."""
    if len(results) <= MOST_ROWS:
        _print_rows(results, console, None)
    else:
        done = [result for result in results if result.p_pneumonia is not None]
        done.sort(key=lambda result: result.p_pneumonia or 0.0, reverse=True)
        if done:
            _print_rows(
                done[:MOST_SUSPICIOUS], console, f"The {min(MOST_SUSPICIOUS, len(done))} most suspicious images"
            )
        rest = [result for result in results if result.p_pneumonia is None]
        if rest:
            _print_rows(rest, console, "Images without an answer")
    console.print(Text(summary(results)))
    console.print(Text(DISCLAIMER))


def summary(results: Sequence[Result]) -> str:
    """Count the rows by label and by state, and name the model."""
    states = Counter(result.state for result in results)
    labels = Counter(result.label for result in results if result.label)
    counts = [f"{labels[label]:,} {label}" for label in reversed(Label)]
    counts += [f"{count:,} {state}" for state, count in sorted(states.items()) if state != State.DONE]
    models = sorted({result.model for result in results if result.model})
    return f"{len(results):,} files: {', '.join(counts)}." + (f" Model: {', '.join(models)}." if models else "")


def _print_rows(results: Iterable[Result], console: Console, title: str | None) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("file_name", overflow="fold")
    for name in ("state", "label"):
        table.add_column(name, no_wrap=True)
    for name in ("confidence", "p_pneumonia"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("error", overflow="fold")
    for result in results:
        table.add_row(*_cells(result), style=_STYLES.get(State(result.state), ""))
    console.print(table)


def _cells(result: Result) -> list[Text]:
    confidence = "" if result.confidence is None else f"{result.confidence:.1%}"
    p_pneumonia = "" if result.p_pneumonia is None else f"{result.p_pneumonia:.4f}"
    values = [result.file_name, result.state, result.label or "", confidence, p_pneumonia, result.error or ""]
    return [Text(printable(value)) for value in values]
