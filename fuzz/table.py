"""Report a run as a printed table and as JSON."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from fuzz.lanes import Outcome
from shared.settings import MIB

_COLUMNS: Final = (
    "kind", "files", "images", "prepared", "refused at intake", "refused at decode", "findings", "peak MiB",
    "slowest s",
)  # fmt: skip


@dataclass
class Row:
    """Outcomes of the files of one kind; a ZIP counts once by its best image, `images` counts its content."""

    files: int = 0
    images: int = 0
    prepared: int = 0
    intake: int = 0
    decode: int = 0
    findings: int = 0
    peak: int = 0
    slowest: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        self.files += 1
        self.images += outcome.prepared + len(outcome.intake) + len(outcome.decode)
        self.codes.update([*outcome.intake, *outcome.decode])
        self.peak, self.slowest = max(self.peak, outcome.peak), max(self.slowest, outcome.cpu)
        if outcome.fault is not None:
            self.findings += 1
        elif outcome.prepared:
            self.prepared += 1
        elif outcome.decode:
            self.decode += 1
        else:
            self.intake += 1

    def merge(self, other: "Row") -> None:
        """Add another row to this one."""
        for name in ("files", "images", "prepared", "intake", "decode", "findings"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.peak, self.slowest = max(self.peak, other.peak), max(self.slowest, other.slowest)
        self.codes.update(other.codes)

    def cells(self) -> list[str]:
        """Write the row's figures."""
        counts = (self.files, self.images, self.prepared, self.intake, self.decode, self.findings)
        return [*(f"{count:,}" for count in counts), f"{self.peak / MIB:,.0f}", f"{self.slowest:.1f}"]


class Tally:
    """Rows by kind, and all together."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        self.rows.setdefault(outcome.case.kind, Row()).add(outcome)

    @property
    def total(self) -> Row:
        """Return the sum of the rows."""
        total = Row()
        for row in self.rows.values():
            total.merge(row)
        return total

    def show(self, console: Console) -> None:
        """Print the table, and how often each code was given."""
        table = Table(*_COLUMNS, title="Hostile files")
        for column in table.columns[1:]:
            column.justify = "right"
        for kind in sorted(self.rows):
            table.add_row(kind, *self.rows[kind].cells())
        table.add_section()
        table.add_row("all", *self.total.cells())
        console.print(table)
        codes = ", ".join(f"{code} {count:,}" for code, count in self.total.codes.most_common())
        console.print(f"Codes: {codes}.", soft_wrap=True, highlight=False)

    def to_json(self) -> dict[str, Any]:
        """Return the figures: counts, bytes and seconds."""
        return {kind: vars(row) for kind, row in [*sorted(self.rows.items()), ("all", self.total)]}
