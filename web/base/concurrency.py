"""Limit concurrency of a kind of work in this process; after too long a wait answer 503 with Retry-After."""

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from web.languages.text import _

T = TypeVar("T")

_RETRY_SECONDS: Final = 5


class TooBusy(ServiceUnavailable):
    """Say what is running too often now, and when to retry."""

    def __init__(self, what: str) -> None:
        again = _("Try again in %(seconds)s s.", seconds=_RETRY_SECONDS)
        super().__init__(" ".join([_(what), again]), retry_after=_RETRY_SECONDS)


class Turns:
    """A semaphore: let so many run at once; others wait for so many seconds, then TooBusy is raised."""

    def __init__(self, most: int, seconds: float, what: str) -> None:
        self._free = threading.BoundedSemaphore(most)
        self._seconds, self._what = seconds, what

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn for a block."""
        self._take()
        try:
            yield
        finally:
            self._free.release()

    def stream(self, make: Callable[[], Response]) -> Response:
        """Make a response that holds its turn until it is sent or its client has gone."""
        self._take()
        given_back = ExitStack()
        given_back.callback(self._free.release)
        try:
            response = make()
        except BaseException:
            given_back.close()
            raise
        response.response = _closing(response.iter_encoded(), given_back)
        response.call_on_close(given_back.close)  # a generator never started does not finish
        return response

    def _take(self) -> None:
        is_free = self._free.acquire(timeout=self._seconds) if self._seconds else self._free.acquire(blocking=False)
        if not is_free:
            raise TooBusy(self._what)


def _closing(pieces: Iterable[T], given_back: ExitStack) -> Iterator[T]:
    with given_back:
        yield from pieces


class Once:
    """Compute a value once for all concurrent callers."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds, self._what = seconds, what
        self._lock = threading.Lock()
        self._made: dict[Hashable, Future[Any]] = {}

    def make(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return the result of `make`, or of another thread's call for the same key; raise its error."""
        with self._lock:
            other = self._made.get(key)
            mine = self._made.setdefault(key, Future())
        if other is not None:
            try:
                return bytes(other.result(self._seconds))
            except TimeoutError as error:
                raise TooBusy(self._what) from error
        try:
            mine.set_result(made := make())
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._made[key]
        return made
