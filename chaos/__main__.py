"""`make chaos`, or `python -m chaos`: inject faults into the real stack at work, and account for every image."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import click
from rich.console import Console

from chaos.campaign import Outcome, Plan, run
from chaos.errors import ChaosFailed
from chaos.faults import FAULTS
from chaos.report import as_json, as_markdown, show, write_into
from chaos.scene import Fault
from chaos.stack import Kind, Timing
from shared.settings import REPOSITORY, Settings

STACKS: Final[tuple[Kind, ...]] = ("embedded", "postgres")
DOCUMENT: Final = REPOSITORY / "docs" / "reliability.md"


def as_it_ships() -> Timing:
    """Return the timing of leases and sweeps by the settings' defaults."""
    lease, sweep = (Settings.model_fields[name].default for name in ("lease_seconds", "sweep_seconds"))
    return Timing(lease, sweep, image=0.08)


WIDTH: Final = 140
"""Width of the table in a log, in characters."""

QUICK: Final = Timing(lease=4.0, sweep=1.0, image=0.04)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images", default=10_000, show_default=True, type=click.IntRange(1), help="Minimum images per stack.")
@click.option("--kills", default=100, show_default=True, type=click.IntRange(1), help="Minimum faults per stack.")
@click.option("--seed", default=1, show_default=True, help="Decides the order, timing and pairing of faults.")
@click.option("--faults", "wanted", multiple=True, help="Only faults whose name contains this; repeatable.")
@click.option("--stack", type=click.Choice([*STACKS, "both"]), default="both", show_default=True)
@click.option("--quick", is_flag=True, help="Each fault once, ten at random, short leases.")
@click.option("--short-leases", is_flag=True, help="Leases of 4 s, not the product's 20: a third of the time.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here.")
@click.option("--document", is_flag=True, help="Write the tables into docs/reliability.md.")
def main(
    *,
    images: int,
    kills: int,
    seed: int,
    wanted: tuple[str, ...],
    stack: str,
    quick: bool,
    short_leases: bool,
    json_file: Path | None,
    document: bool,
) -> None:
    """Run the real stack on thousands of images under faults; exit with 1 where an image was lost or duplicated.

    Half of the faults are injected one after the other, each alone; the rest at random, often two at once.
    """
    faults = choose(wanted)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    outcomes: list[Outcome] = []
    for kind in STACKS if stack == "both" else (cast("Kind", stack),):
        plan = _plan(kind, faults, images=images, kills=kills, seed=seed, quick=quick)
        plan = replace(plan, timing=QUICK) if short_leases else plan
        try:
            outcomes.append(run(plan, lambda line: console.print(line, highlight=False)))
        except ChaosFailed as error:
            raise click.ClickException(str(error)) from error
        show(outcomes[-1], console)
    if json_file is not None:
        json_file.write_text(as_json(outcomes))
    if document:
        write_into(DOCUMENT, as_markdown(outcomes, shlex.join(["python", "-m", "chaos", *sys.argv[1:]])))
    sys.exit(0 if all(outcome.is_clean for outcome in outcomes) else 1)


def choose(wanted: tuple[str, ...]) -> list[Fault]:
    """Choose the faults whose names contain one of these words; all where no words are given."""
    found = [fault for fault in FAULTS if not wanted or any(word in fault.name for word in wanted)]
    if not found:
        names = "\n  ".join(fault.name for fault in FAULTS)
        raise click.UsageError(f"No fault's name contains {' or '.join(wanted)}. The faults are:\n  {names}")
    return found


def _plan(kind: Kind, faults: list[Fault], *, images: int, kills: int, seed: int, quick: bool) -> Plan:
    if quick:
        return Plan(kind, faults, times_alone=1, times_random=10, images=1000, seed=seed, timing=QUICK)
    alone = max(1, kills // (2 * len(faults)))
    return Plan(kind, faults, alone, max(0, kills - alone * len(faults)), images, seed, as_it_ships())


if __name__ == "__main__":
    main()
