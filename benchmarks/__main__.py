"""`make bench`: measure the machine, this system and its peers; print every target with what was measured.

    python -m benchmarks [PART ...] [--quick] [--out var/bench]

Each part writes OUT/PART.json, and the table is printed from all that is there, so that a long part need not be run
again for a short one. `report` measures nothing. Without a name all parts run: with ten million rows and an hour of
load about three hours, with --quick about twenty minutes without those two. Images come from ../shared/data; the peers
have an environment of their own (benchmarks/peers/README.md).
"""

import argparse
import json
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import bulk, endurance, floor, growth, latency, plots, queue_rate, scaling, startup, targets
from benchmarks.scratch import new_folder, settle
from benchmarks.stack import fresh, make_forms, running

ROUNDS: Final = 3
GROWTH_ROWS: Final = (1_000_000, 10_000_000)


def _bulk(quick: bool) -> Any:
    return {name: asdict(found) for name, found in bulk.measure(1 if quick else ROUNDS).items()}


def _latency(_quick: bool) -> Any:
    with running(new_folder()) as stack:
        stack.wait(stack.send(make_forms(fresh(bulk.SETS[bulk.SMALL]()[:256], 1))))
        found = {"idle": latency.idle(stack, 2), "beside_bulk": latency.beside_bulk(stack, 10)}
    return {name: one.seconds for name, one in found.items()}


def _queue(quick: bool) -> Any:
    return [asdict(one) for one in queue_rate.measure(10_000 if quick else queue_rate.IMAGES, [1, 2])]


PARTS: Final[dict[str, Callable[[bool], Any]]] = {
    "floor": lambda _quick: asdict(floor.measure()),
    "bulk": _bulk,
    "latency": _latency,
    "scaling": lambda quick: [asdict(one) for one in scaling.measure(1 if quick else ROUNDS)],
    "queue": _queue,
    "start": lambda _quick: [asdict(start) for start in startup.measure()],
    "growth": lambda _quick: growth.measure_all(growth.Asked(GROWTH_ROWS)),
    "memory": lambda _quick: asdict(endurance.measure()),
}
LONG: Final = ("growth", "memory")
_COLUMNS: Final = ("what", "target", "measured", "met")


def measure(names: Iterable[str], out: Path, quick: bool) -> None:
    """Run parts and write each to its own file with the day, the commit and the machine."""
    out.mkdir(parents=True, exist_ok=True)
    if not quick:
        settle()
    for name in names:
        print(f"Measuring: {name}", flush=True)
        found = {"measured": _circumstances(quick), "found": PARTS[name](quick)}
        (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def _circumstances(quick: bool) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit.stdout.strip() or None,
        "python": platform.python_version(),
        "cores": floor.CORES,
        "quick": quick,
    }


def read(out: Path) -> dict[str, Any]:
    """Read the results, by part."""
    return {path.stem: json.loads(path.read_text())["found"] for path in out.glob("*.json") if path.stem in PARTS}


def report(out: Path, console: Console) -> None:
    """Print when each part was measured, images a second of all systems, and every target, also to OUT/targets.md."""
    results = read(out)
    for part in results:
        measured = json.loads((out / f"{part}.json").read_text())["measured"]
        console.print(f"{part:8} " + ", ".join(f"{name} {value}" for name, value in measured.items()))
    if "bulk" in results:
        console.print(_rates(results))
        for line in _saturation(targets.compared(results).ours):
            console.print(line)
    table = Table(title=f"Targets, {floor.CORES} cores")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column == "measured" else "left")
    rows = [(row.what, row.target, row.measured, "yes" if row.is_met else "NO") for row in targets.rows(results)]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = [" | ".join(cells) for cells in (_COLUMNS, ("---",) * len(_COLUMNS), *rows)]
    (out / "targets.md").write_text("".join(f"| {line} |\n" for line in lines))
    for path in plots.draw(results, out):
        console.print(f"Drawn: {path}")


def _saturation(ours: bulk.Rates) -> Iterator[str]:
    """Yield for each set what kept the cores busy in the last turn."""
    for name, spent in ours.processor_ms.items():
        parts = ", ".join(f"{part} {milliseconds:.2f}" for part, milliseconds in spent.items() if milliseconds >= 0.01)
        busy = ours.rates[name][-1] * sum(spent.values()) / 1000 / floor.CORES
        yield f"Processor time of an image, {name}: {parts} ms; the cores were {busy:.0%} busy with these"


def _rates(results: targets.Results) -> Table:
    found = targets.compared(results)
    table = Table(title=f"Images a second on {floor.CORES} cores: median (lowest to highest) of the rounds")
    for column in ("system", bulk.SMALL, bulk.LARGE, bulk.ZIPPED, "one at a time, ms"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for one in (found.floor, found.ours, *found.peers.values()):
        cells = [_spread(one.rates.get(name, [])) for name in (bulk.SMALL, bulk.LARGE, bulk.ZIPPED)]
        table.add_row(one.title, *cells, _spread(one.alone_ms))
        if one.trouble is not None:
            table.add_row("", f"not measured: {one.trouble.splitlines()[0]}")
    return table


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    middle = sorted(values)[len(values) // 2]
    return f"{middle:,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    """Run the parts that the arguments name, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"report, {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--quick", action="store_true", help="one round, and neither ten million rows nor an hour")
    parser.add_argument("--out", type=Path, default=Path("var/bench"), help="folder of results (default: var/bench)")
    given = parser.parse_args()
    if unknown := set(given.parts) - {*PARTS, "report"}:
        parser.error(f"There is no part {', '.join(sorted(unknown))}. Choose from report, {', '.join(PARTS)}.")
    names = given.parts or [name for name in PARTS if not (given.quick and name in LONG)]
    measure([name for name in names if name != "report"], given.out, given.quick)
    report(given.out, Console(width=170))


if __name__ == "__main__":
    main()
