"""Share a measurement between requests, so that a hundred open pages measure as often as one."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 2.0
"""The longest that a page waits for a hanging store or Redis."""


class Measurement(Generic[T]):
    """Measure on demand when the last value is older than FRESH_SECONDS."""

    def __init__(self, measure: Callable[[], T]) -> None:
        self.seconds = FRESH_SECONDS
        self._measure = measure
        self._last: tuple[float, T] | None = None
        self._running: Future[T] | None = None
        self._lock = threading.Lock()

    def __call__(self) -> T:
        """Return a value of the last second, or the previous one where measuring takes WAIT_SECONDS.

        Raises what the measurement raises; errors are not cached.
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
        """Update the last value by what has happened since, without measuring."""
        last = self._last
        if last is not None:
            self._last = (last[0], change(last[1]))

    def _run(self) -> "Future[T]":
        """Join the measurement in progress, or start one."""
        with self._lock:
            running, last = self._running, self._last
            if running is not None:
                return running
            found: Future[T] = Future()
            if last is not None and self._is_fresh(last):  # another caller's measurement has just ended
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
