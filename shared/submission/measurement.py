"""A measurement that many requests share, so that a hundred open pages measure as often as one."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 2.0
"""A page does not hang longer than this on a store or a Redis that does."""


class Measurement(Generic[T]):
    """Measure when someone asks and the last value is older than FRESH_SECONDS."""

    def __init__(self, measure: Callable[[], T]) -> None:
        self.seconds = FRESH_SECONDS
        self._measure = measure
        self._last: tuple[float, T] | None = None
        self._running: Future[T] | None = None
        self._lock = threading.Lock()

    def __call__(self) -> T:
        """Return a value of the last second, or the one before it where measuring takes WAIT_SECONDS.

        Raises what the measurement raises; nothing is kept of that.
        """
        last = self._last
        if last is not None and self._is_fresh(last):
            return last[1]
        running = self._run()
        try:
            return running.result(None if last is None else WAIT_SECONDS)
        except TimeoutError:
            if last is None or running.done():
                raise
            return last[1]

    def amend(self, change: Callable[[T], T]) -> None:
        """Change the last value by what is known to have happened since, without measuring."""
        last = self._last
        if last is not None:
            self._last = (last[0], change(last[1]))

    def _run(self) -> "Future[T]":
        """Join the measurement that is being made, or begin one."""
        with self._lock:
            running, last = self._running, self._last
            if running is not None:
                return running
            found: Future[T] = Future()
            if last is not None and self._is_fresh(last):  # another's measurement has ended since this caller looked
                found.set_result(last[1])
                return found
            self._running = found
            threading.Thread(target=self._renew, args=(found,), daemon=True).start()
            return found

    def _is_fresh(self, last: tuple[float, T]) -> bool:
        return time.monotonic() - last[0] < self.seconds

    def _renew(self, running: "Future[T]") -> None:
        try:
            value = self._measure()
        except Exception as error:  # noqa: BLE001  # the caller raises it
            with self._lock:
                self._running = None
            running.set_exception(error)
        else:
            with self._lock:
                self._last, self._running = (time.monotonic(), value), None
            running.set_result(value)
