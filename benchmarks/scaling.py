"""Measure scaling by cores: the whole stack and its client on one core, then on two, one worker process per core.

The floor, decoding and network alone, is the baseline: where two cores share hardware, it does not double either.

`python -m benchmarks.scaling`
"""

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks import floor, images
from benchmarks.bulk import SMALL, TURNS, screen
from benchmarks.scratch import new_folder
from benchmarks.stack import fresh, make_forms, running

ROUNDS: Final = 3
IMAGES: Final = 2000


@contextmanager
def held_to(cores: int) -> Iterator[None]:
    """Pin this process and its children to so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:cores]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Scaled:
    """Images a second on so many cores, one value per turn."""

    cores: int
    ours: list[float] = field(default_factory=list)
    """From the first byte to the last row."""
    floor: list[float] = field(default_factory=list)
    """Decoding and network alone."""


def measure(rounds: int = ROUNDS) -> list[Scaled]:
    """Measure on 1, 2, 4 and so on cores."""
    found = [Scaled(cores) for cores in _powers(len(os.sched_getaffinity(0)))]
    for _ in range(rounds):
        for one in found:
            with held_to(one.cores):
                _measure(one)
    return found


def _powers(most: int) -> Sequence[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def _measure(one: Scaled) -> None:
    folder, workers = new_folder(), ("--workers", str(one.cores))
    with running(folder, *workers) as stack, floor.held_ready([SMALL], one.cores) as floor_of:
        stack.wait(stack.send(make_forms(fresh(images.small(IMAGES), 1))))
        for turn in range(TURNS):
            one.floor.append(floor_of(SMALL))
            one.ours.append(screen(stack, make_forms(fresh(images.small(IMAGES), 100 + turn)), IMAGES))


if __name__ == "__main__":
    for one in measure():
        for name, rates in (("end to end", one.ours), ("floor", one.floor)):
            middle, spread = statistics.median(rates), f"{min(rates):,.0f} to {max(rates):,.0f}"
            print(f"{one.cores} cores, {name:10}: {middle:,.0f} images/s ({spread})")
