"""Retry and backoff: for a limited time while a server restarts, without limit while its queue is full."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx

from cli.errors import CommandFailed

RETRY_SECONDS: Final = 300.0
"""Seconds to wait for a server that has answered before."""
FIRST_RETRY_SECONDS: Final = 10.0
"""Seconds for the first request: a server that never answered is more likely a wrong address than a restart."""

BUSY: Final = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Status codes that mean to try again."""

QUEUE_FULL: Final = "queue_full"
"""A problem code (docs/http.md)."""

# LocalProtocolError: a file changed its size while it was read; the next attempt reads it again.
LOST: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.LocalProtocolError)
"""Connection errors that may be temporary."""

_FIRST_DELAY: Final = 0.25
_LONGEST_DELAY: Final = 5.0
_SECONDS_BETWEEN_NOTES: Final = 60.0


class GaveUp(CommandFailed):
    """Say that the server did not answer for too long."""


class Outage:
    """An outage: the time in which one request fails."""

    def __init__(
        self, url: str, retry_seconds: float, note: Callable[[str], None], sleep: Callable[[float], None]
    ) -> None:
        self._url, self._retry_seconds, self._note, self._sleep = url, retry_seconds, note, sleep
        self._began: float | None = None
        self._delay = _FIRST_DELAY
        self._said = False

    def wait(self, trouble: str, asked: float | None = None) -> None:
        """Sleep before the next attempt, as long as the server requested; raise GaveUp where retries take too long."""
        present = time.monotonic()
        # The first failure is not reported: a server may just have closed an idle connection.
        is_first = self._began is None
        self._began = present if self._began is None else self._began
        delay = max(self._delay, asked or 0.0)
        left = self._retry_seconds - (present - self._began)
        if delay > left:
            raise GaveUp(f"{self._url} did not answer within {self._retry_seconds:g} s. {trouble}")
        if not self._said and (not is_first or delay > 1):
            self._said = True
            self._note(f"The server does not answer ({trouble}). Trying again for up to {left:.0f} s.")
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        self._sleep(delay)

    def end(self) -> None:
        """Report that the server is back, if its outage was reported; the next outage starts afresh."""
        if self._said:
            self._note("The server answers again.")
        self._began, self._delay, self._said = None, _FIRST_DELAY, False


class FullQueue:
    """A full queue: the server accepts no more images but works, so there is no time limit."""

    def __init__(self, note: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        self._note, self._sleep = note, sleep
        self._said_at: float | None = None

    def wait(self, detail: str, asked: float | None) -> None:
        """Sleep as long as the server requested; report why and until when, at most once a minute."""
        delay = asked or _LONGEST_DELAY
        present = time.monotonic()
        if self._said_at is None or present - self._said_at >= _SECONDS_BETWEEN_NOTES:
            self._said_at = present
            until = datetime.now().astimezone() + timedelta(seconds=delay)
            self._note(f"The queue is full. {detail} Sending resumes by itself at {until:%H:%M:%S}.")
        self._sleep(delay)


def may_pass(response: httpx.Response) -> bool:
    """Tell whether an answer means to try again; for a full disk, only if it says when."""
    is_disk = response.status_code == HTTPStatus.INSUFFICIENT_STORAGE and "Retry-After" in response.headers
    return is_disk or response.status_code in BUSY


def asked_delay(response: httpx.Response) -> float | None:
    """Parse Retry-After: seconds or a date (RFC 9110, section 10.2.3); None where it has no usable value."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
