"""A measurement that many requests share: fresh, made once at a time, and never hung on."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.submission import measurement
from shared.submission.measurement import Measurement


def test_a_value_is_shared_for_a_second() -> None:
    values = iter(range(9))
    measured = Measurement(lambda: next(values))
    assert [measured(), measured()] == [0, 0]
    measured.seconds = 0.0
    assert [measured(), measured()] == [1, 2]


def test_what_happened_since_is_counted_in() -> None:
    measured = Measurement(lambda: 10)
    measured.amend(lambda value: value + 1)
    assert measured() == 10, "nothing was known yet"
    measured.amend(lambda value: value + 1)
    assert measured() == 11


def test_many_who_ask_at_once_measure_once() -> None:
    may_end = threading.Event()
    measured = Measurement(lambda: (may_end.wait(10), time.monotonic()))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(measured) for _ in range(8)]
        may_end.set()
        assert len({answer.result(10) for answer in answers}) == 1


def test_a_measurement_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "WAIT_SECONDS", 0.05)
    may_end = threading.Event()
    values = iter([1, 2])

    def measure() -> int:
        value = next(values)
        if value > 1:
            may_end.wait(10)
        return value

    measured = Measurement(measure)
    measured.seconds = 0.0
    assert [measured(), measured(), measured()] == [1, 1, 1]
    may_end.set()
    measured.seconds = 60.0
    while measured._running is not None:
        time.sleep(0.01)
    assert measured() == 2


def test_who_asks_hears_of_a_failure_and_the_next_tries_again() -> None:
    values = iter([ValueError("away"), TimeoutError("slow"), 3])

    def measure() -> int:
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    measured = Measurement(measure)
    for kind in (ValueError, TimeoutError):
        with pytest.raises(kind):
            measured()
    assert measured() == 3
