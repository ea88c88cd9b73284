"""Report a run as a printed table, as Markdown and as JSON."""

import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from chaos.campaign import Line, Outcome, median

HEADINGS: Final = (
    "fault", "times", "images", "lost", "duplicated", "wrong", "failed", "recovery, median", "recovery, worst",
)  # fmt: skip
STACKS: Final = {
    "embedded": "Embedded: SQLite, an image store in a folder, Redis on a unix socket",
    "postgres": "PostgreSQL, an S3-compatible object store, Redis over TCP",
}
_NOTES: Final = 20


def show(outcome: Outcome, console: Console) -> None:
    """Print a run's table and the notes on single images."""
    table = Table(title=STACKS[outcome.plan.kind])
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for line in outcome.lines:
        table.add_row(*_cells(line))
    table.add_section()
    table.add_row(*_cells(outcome.total))
    console.print(table)
    for note in outcome.total.account.notes[:_NOTES]:
        console.print(note, highlight=False)
    console.print(_remarks(outcome), highlight=False)


def _cells(line: Line) -> list[str]:
    account, name = line.account, line.fault if line.skipped is None else f"{line.fault} (skipped: {line.skipped})"
    counts = [line.times, account.images, account.lost, account.duplicated, account.wrong, account.failed]
    times = [f"{f(line.recoveries):.1f} s" if line.recoveries else "-" for f in (median, max)]
    return [name, *(f"{count:,}" for count in counts), *times]


def _remarks(outcome: Outcome) -> str:
    refused = ", ".join(f"{count} x {status}" for status, count in sorted(outcome.refusals.items())) or "none"
    timing = outcome.plan.timing
    return (
        f"Seed {outcome.plan.seed}; leases of {timing.lease:g} s, a sweep every {timing.sweep:g} s, "
        f"{timing.image * 1000:g} ms per image; {outcome.seconds / 60:.1f} minutes; "
        f"requests refused and retried: {refused}."
    )


def machine() -> str:
    """Describe the machine of a run."""
    return f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}, Python {platform.python_version()}"


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Write runs as JSON."""
    return json.dumps({"machine": machine(), "runs": [_values(outcome) for outcome in outcomes]}, indent=2)


def _values(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan
    return {
        "stack": plan.kind,
        "seed": plan.seed,
        "timing": vars(plan.timing),
        "seconds": round(outcome.seconds, 1),
        "refusals": outcome.refusals,
        "is_clean": outcome.is_clean,
        "lines": [
            {"fault": line.fault, "times": line.times, "skipped": line.skipped, **vars(line.account)}
            | {"recoveries": [round(seconds, 2) for seconds in line.recoveries]}
            for line in [*outcome.lines, outcome.total]
        ],
    }


def as_markdown(outcomes: Sequence[Outcome], command: str) -> str:
    """Write runs as the tables of docs/reliability.md."""
    parts = [f"`{command}` on {machine()}:"]
    for outcome in outcomes:
        rows = [HEADINGS, ["---", *["--:"] * (len(HEADINGS) - 1)], *map(_cells, [*outcome.lines, outcome.total])]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(f"{STACKS[outcome.plan.kind]}.\n\n{table}\n\n{_remarks(outcome)}")
    return "\n\n".join(parts)


def write_into(document: Path, markdown: str) -> None:
    """Put tables between the document's markers."""
    text = document.read_text()
    marked = re.compile(r"(<!-- chaos -->\n).*?(<!-- /chaos -->)", re.DOTALL)
    document.write_text(marked.sub(lambda found: f"{found[1]}\n{markdown}\n\n{found[2]}", text, count=1))
