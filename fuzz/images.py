"""Run the fuzzer over hostile files."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz.cases import make_case
from fuzz.findings import Findings
from fuzz.lanes import Bounds, drive
from fuzz.seeds import all_seeds
from fuzz.table import Tally


@dataclass(frozen=True)
class ImageRun:
    """The counts of a run, and how often each fault occurred."""

    tally: Tally
    faults: dict[str, int]


def run_images(
    *,
    files: int,
    seed: int,
    data: Path | None,
    findings: Path,
    lanes: int = 2,
    bounds: Bounds | None = None,
    on_file: Callable[[], object] = lambda: None,
) -> ImageRun:
    """Make `files` hostile files from `seed` and process each completely; `findings` gets those that show a fault.

    `data` is the folder of real images, None for synthetic ones only; `on_file` is called after each.
    """
    bounds = bounds or Bounds()
    make = functools.partial(make_case, all_seeds(data), seed)
    tally, found = Tally(), Findings(findings, bounds)
    for outcome in drive(make, files, lanes, bounds):
        tally.add(outcome)
        if outcome.fault is not None:
            found.add(outcome)
        on_file()
    return ImageRun(tally, found.seen)
