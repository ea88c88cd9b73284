"""The simulated day: nothing ends before it came, and nothing is lost."""

import random

import pytest

from benchmarks import million
from benchmarks.million import arrivals, simulate


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_no_image_ends_before_it_came(cores: int) -> None:
    day = simulate(50_000, cores, rate=500.0, overhead=0.05)
    assert day.single_ms[0] >= 50 + 1000 / 500
    assert day.bulk_seconds[0] >= million.BULK_IMAGES / (cores * 500.0)


def test_the_cores_do_as_much_work_as_comes() -> None:
    day = simulate(50_000, 2, rate=500.0, overhead=0.0)
    assert day.busy * 2 * million.DAY == pytest.approx(50_000 / 500.0)


def test_a_core_that_is_too_slow_falls_behind() -> None:
    day = simulate(50_000, 1, rate=0.5, overhead=0.0)
    assert day.most_waiting > 1000
    assert day.single_ms[1] > 60_000


def test_a_day_brings_the_images_that_were_asked_for_in_the_order_of_time() -> None:
    came = list(arrivals(50_000, random.Random(1)))  # noqa: S311  # no secret
    assert sum(count for _, count in came) == 50_000
    assert came == sorted(came)
