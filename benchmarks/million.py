"""What a million images a day cost: a simulated day that the measured rates feed, and the arithmetic beside it.

    python -m benchmarks.million [--images 1000000] [--cores 1 2 4] [--out var/bench]

Simulated is a day of a group of hospitals: nine images in ten come one by one over the day, most in the forenoon; one
in ten comes in bulk, in jobs of 5,000. A worker core takes a quarter of a second of work at a time, single images
first, as `worker.screening` and the claim have it. How fast a core screens, what the queue carries and how long an
image takes on an idle stack are read from OUT, where `make bench` wrote them. Prices are assumptions, to be replaced by
one's own.
"""

import argparse
import heapq
import random
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.__main__ import read
from benchmarks.bulk import LARGE, SMALL
from benchmarks.floor import CORES
from benchmarks.targets import compared
from worker.screening.batch_size import BATCH_SECONDS

DAY: Final = 86_400.0
BULK_SHARE: Final = 0.1
BULK_IMAGES: Final = 5000
_HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 8, 12, 13, 12, 10, 8, 9, 9, 8, 6, 4, 3, 3, 2, 2, 1, 1)
"""Relative number of single images in each hour of the day: the morning peak is 2.6 times the mean."""
MOST_TAKEN: Final = 128

IMAGE_BYTES: Final = {SMALL: 7e3, LARGE: 225e3}
ROW_BYTES: Final = 1.5e3
"""An image's rows with their indexes: 14.6 GB of PostgreSQL for ten million (docs/performance.md)."""


@dataclass(frozen=True)
class Day:
    """The results of the simulated day."""

    cores: int
    busy: float
    """Share of the day that the worker cores were busy."""
    single_ms: tuple[float, float, float]
    """From a single image's arrival to its result: median, 99th percentile, worst."""
    bulk_seconds: tuple[float, float]
    """From a bulk job's arrival to its last image: median, worst."""
    most_waiting: int


def arrivals(images: int, lot: random.Random) -> Iterator[tuple[float, int]]:
    """Yield arrival times and numbers of images, in order of time."""
    singles = int(images * (1 - BULK_SHARE))
    hours = lot.choices(range(24), weights=_HOURS, k=singles)
    times = [(3600 * (hour + lot.random()), 1) for hour in hours]
    jobs = [(DAY * lot.random(), BULK_IMAGES) for _ in range((images - singles) // BULK_IMAGES)]
    yield from sorted([*times, *jobs])


def simulate(images: int, cores: int, rate: float, overhead: float, seed: int = 1) -> Day:
    """Simulate a day on so many worker cores at `rate` images a second each; a single image adds `overhead` seconds."""
    waiting: tuple[deque[tuple[float, int]], deque[tuple[float, int]]] = (deque(), deque())
    free = [0.0] * cores
    worked, most, singles, ended = 0.0, 0, list[float](), dict[int, tuple[float, float]]()
    coming = enumerate(arrivals(images, random.Random(seed)))  # noqa: S311  # seeded, to be repeated
    upcoming, clock = next(coming, None), 0.0
    while upcoming or any(waiting):
        # An idle core cannot start before its work arrives.
        at = max(heapq.heappop(free), clock)
        if not any(waiting) and upcoming:
            at = max(at, upcoming[1][0])
        clock = at
        while upcoming and upcoming[1][0] <= at:
            number, (when, count) = upcoming
            waiting[count > 1].extend((when, number) for _ in range(count))
            upcoming = next(coming, None)
        most = max(most, len(waiting[0]) + len(waiting[1]))
        taken = _take(waiting, min(MOST_TAKEN, max(1, int(BATCH_SECONDS * rate))))
        end = at + len(taken) / rate
        worked += end - at
        for kind, when, number in taken:
            if kind == 0:
                singles.append(end - when + overhead)
            else:
                ended[number] = (when, end)
        heapq.heappush(free, end)
    return Day(cores, worked / (cores * DAY), _singles(singles), _bulks(list(ended.values())), most)


def _take(
    waiting: tuple["deque[tuple[float, int]]", "deque[tuple[float, int]]"], limit: int
) -> list[tuple[int, float, int]]:
    taken: list[tuple[int, float, int]] = []
    for kind, queue in enumerate(waiting):
        while queue and len(taken) < limit:
            taken.append((kind, *queue.popleft()))
    return taken


def _singles(seconds: list[float]) -> tuple[float, float, float]:
    ranked = sorted(seconds)
    return 1000 * ranked[len(ranked) // 2], 1000 * ranked[int(0.99 * len(ranked))], 1000 * ranked[-1]


def _bulks(jobs: list[tuple[float, float]]) -> tuple[float, float]:
    spans = [end - when for when, end in jobs] or [0.0]
    return statistics.median(spans), max(spans)


@dataclass(frozen=True)
class Rates:
    """The measured rates."""

    a_core: dict[str, float]
    """Images a second end to end on one core, by set of images, with all that they cause."""
    queue: float
    single_seconds: float


def measured(results: dict[str, Any]) -> Rates:
    """Read the rates from the benchmark's results; raise SystemExit where a part is missing."""
    if missing := {"bulk", "queue", "latency", "floor"} - set(results):
        raise SystemExit(f"Measure {', '.join(sorted(missing))} first: make bench.")
    ours = compared(results).ours
    return Rates(
        {name: (ours.median(name) or 0.0) / CORES for name in (SMALL, LARGE)},
        max(one["screened"] for one in results["queue"]),
        statistics.median(results["latency"]["idle"]),
    )


def show(images: int, cores: Sequence[int], rates: Rates, core_hour: float, gb_month: float) -> None:
    """Print the simulated days and the arithmetic."""
    mean = images / DAY
    peak = mean * (1 - BULK_SHARE) * max(_HOURS) * 24 / sum(_HOURS)
    print(f"{images:,} images a day are {mean:.1f} a second, {peak:.1f} single ones a second in the busiest hour.")
    for name, rate in rates.a_core.items():
        hours = images / rate / 3600
        print(f"\n{name}: a core screens {rate:,.0f} images a second, all told: {hours:.2f} core hours a day")
        for count in cores:
            day = simulate(images, count, rate, rates.single_seconds)
            p50, p99, worst = day.single_ms
            print(
                f"  {count} cores, busy {day.busy:.1%}: a single image {p50:.0f} ms, p99 {p99:.0f}, worst {worst:.0f}; "
                f"a bulk job {day.bulk_seconds[0]:.0f} s, worst {day.bulk_seconds[1]:.0f} s; "
                f"at most {day.most_waiting:,} wait"
            )
    rows, images_gb = images * ROW_BYTES / 1e9, images * IMAGE_BYTES["originals"] / 1e9
    share = mean / rates.queue
    print(
        f"\nQueue and database: {mean:.1f} of the {rates.queue:,.0f} images a second that they carry alone, {share:.2%}"
    )
    print(f"Database: {rows:.1f} GB a day, {365 * rows:,.0f} GB a year, with indexes")
    print(f"Store: {images_gb:.0f} GB of originals a day, {365 * images_gb / 1000:.0f} TB a year")
    print(
        f"At {core_hour} a core hour and {gb_month} a GB month: {2 * 24 * core_hour:.2f} a day for two cores; "
        f"{images_gb * gb_month:.2f} a month for each day's originals that are kept"
    )


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--out", type=Path, default=Path("var/bench"), help="folder of results (default: var/bench)")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour (assumed: 0.04)")
    parser.add_argument("--gb-month", type=float, default=0.02, help="price of a GB for a month (assumed: 0.02)")
    given = parser.parse_args()
    show(given.images, given.cores, measured(read(given.out)), given.core_hour, given.gb_month)


if __name__ == "__main__":
    main()
