"""Memory over an hour of work: a bulk job every ten seconds, and what each process holds.

`python -m benchmarks.endurance [--minutes 60]`. Every job's images are new, a tenth of them at original size. Resident
memory is read every ten seconds; what a process holds in the last tenth of the time is set beside the second tenth.
"""

import argparse
import json
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks import images
from benchmarks.scratch import new_folder
from benchmarks.stack import Stack, fresh, make_forms, running

MINUTES: Final = 60.0
READ_SECONDS: Final = 10.0
SMALL_A_JOB, LARGE_A_JOB = 1000, 100
JOB_SECONDS: Final = 10.0
"""A job starts this often, so that an hour fills 11 GB of disk instead of 60."""
PARTS: Final = ("web", "worker", "sweep", "serve")


@dataclass
class Endured:
    """The memory readings over time."""

    minutes: float
    images: int = 0
    resident_mb: dict[str, list[float]] = field(default_factory=dict)
    """Memory of the largest process of each part, in order of time."""

    def early(self, part: str) -> float:
        """Return the median of the second tenth of the time, when all lazy loading is done."""
        values = self.resident_mb[part]
        return statistics.median(values[len(values) // 10 : max(len(values) // 5, len(values) // 10 + 1)])

    def late(self, part: str) -> float:
        """Return the median of the last tenth of the time."""
        values = self.resident_mb[part]
        return statistics.median(values[-max(1, len(values) // 10) :])

    def most(self, part: str) -> float:
        """Return the largest value."""
        return max(self.resident_mb[part])


def measure(minutes: float = MINUTES) -> Endured:
    """Give a stack a job every JOB_SECONDS for `minutes` and record its memory."""
    found, stopped = Endured(minutes), threading.Event()
    with running(new_folder()) as stack, ThreadPoolExecutor(1) as pool:
        reader = pool.submit(_read, stack, found, stopped)
        try:
            until, salt = time.monotonic() + 60 * minutes, 0
            while time.monotonic() < until:
                salt, began = salt + 1, time.monotonic()
                sent = [*fresh(images.small(SMALL_A_JOB), salt), *fresh(images.originals(LARGE_A_JOB), salt)]
                stack.wait(stack.send(make_forms(sent)))
                found.images += len(sent)
                time.sleep(max(0.0, began + JOB_SECONDS - time.monotonic()))
        finally:
            stopped.set()
        reader.result()
    return found


def _read(stack: Stack, found: Endured, stopped: threading.Event) -> None:
    while not stopped.wait(READ_SECONDS):
        for part, processes in stack.programs().items():
            if part in PARTS:
                found.resident_mb.setdefault(part, []).append(_largest(processes) / 1e6)


def _largest(processes: Sequence[psutil.Process]) -> int:
    """Return the memory of the largest process in bytes; one that has just ended counts as 0."""
    held = [0]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            held.append(process.memory_info().rss)
    return max(held)


def show(found: Endured, parts: Sequence[str] = PARTS) -> None:
    """Print a line for each part."""
    print(f"{found.images:,} images in {found.minutes:.0f} minutes")
    for part in parts:
        early, late = found.early(part), found.late(part)
        change, most = late / early - 1, found.most(part)
        print(f"{part:7} {early:6.0f} MB early, {late:6.0f} MB late ({change:+.1%}), most {most:.0f} MB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    found = measure(options.minutes)
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
