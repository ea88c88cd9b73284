"""A measurement that many requests share, so that a hundred open pages measure as often as one."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 2.0
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
        """Return a value of the last second, or the one before it where measuring takes PATIENCE_SECONDS.

        Raises what the measurement raises; nothing is kept of that.
        """
        last = self._last
        if last is not None and time.monotonic() - last[0] < self.seconds:
            return last[1]
        running = self._run()
        try:
            return running.result(None if last is None else PATIENCE_SECONDS)
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
            running = self._running
            if running is None:
                running = self._running = Future()
                threading.Thread(target=self._renew, args=(running,), daemon=True).start()
            return running

    def _renew(self, running: "Future[T]") -> None:
        try:
            value = self._measure()
        except Exception as error:  # noqa: BLE001  # whoever asked hears of it
            self._running = None
            running.set_exception(error)
        else:
            self._last = (time.monotonic(), value)
            self._running = None
            running.set_result(value)
