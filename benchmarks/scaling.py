"""What a second core brings: the whole stack and its client on one core, then on two, a worker process a core.

`python -m benchmarks.scaling`
"""

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks import films
from benchmarks.bulk import screen
from benchmarks.scratch import new_folder
from benchmarks.stack import fresh, make_forms, running

ROUNDS: Final = 3
FILMS: Final = 2000


@contextmanager
def held_to(cores: int) -> Iterator[None]:
    """Keep this process and all that it starts on so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:cores]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(rounds: int = ROUNDS) -> dict[int, list[float]]:
    """Return films a second, from the first byte to the last row, by number of cores: 1, 2, 4 and so on."""
    found: dict[int, list[float]] = {}
    for turn in range(rounds):
        for cores in _powers(len(os.sched_getaffinity(0))):
            with held_to(cores):
                found.setdefault(cores, []).append(_rate(cores, 1000 * (turn + 1) + cores))
    return found


def _powers(most: int) -> Sequence[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def _rate(cores: int, salt: int) -> float:
    with running(new_folder(), "--workers", str(cores)) as stack:
        stack.wait(stack.send(make_forms(fresh(films.small(FILMS), 1))))
        return screen(stack, make_forms(fresh(films.small(FILMS), salt)), FILMS)


if __name__ == "__main__":
    for cores, rates in measure().items():
        print(f"{cores} cores: {statistics.median(rates):,.0f} films/s ({min(rates):,.0f} to {max(rates):,.0f})")
