"""Retry and backoff: for a while with a server that restarts, without end with one whose queue is full."""

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
"""Seconds for the first request: a server that was never there is more likely a wrong address than a restart."""

BUSY: Final = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Answers that say to try again."""

QUEUE_FULL: Final = "queue_full"
"""The code of a problem (docs/http.md)."""

# LocalProtocolError: a file changed its size while it was read; the next attempt reads it anew.
LOST: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.LocalProtocolError)
"""Errors of a connection that may come back."""

_FIRST_DELAY: Final = 0.25
_LONGEST_DELAY: Final = 5.0
_SECONDS_BETWEEN_NOTES: Final = 60.0


class GaveUp(CommandFailed):
    """Say that the server did not answer for too long."""


class Outage:
    """The time in which one request does not get through."""

    def __init__(
        self, url: str, retry_seconds: float, note: Callable[[str], None], sleep: Callable[[float], None]
    ) -> None:
        self._url, self._retry_seconds, self._note, self._sleep = url, retry_seconds, note, sleep
        self._began: float | None = None
        self._delay = _FIRST_DELAY
        self._said = False

    def wait(self, trouble: str, asked: float | None = None) -> None:
        """Sleep before the next attempt, as long as the server asked for; raise GaveUp where retries take too long."""
        present = time.monotonic()
        # The first failure passes in silence: a server may just have closed a connection that was idle.
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
        """Say that the server is back, where its absence was told; another outage begins anew."""
        if self._said:
            self._note("The server answers again.")
        self._began, self._delay, self._said = None, _FIRST_DELAY, False


class FullQueue:
    """The times in which the server takes no more images; it is there and works, so no time limit runs."""

    def __init__(self, note: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        self._note, self._sleep = note, sleep
        self._said_at: float | None = None

    def wait(self, detail: str, asked: float | None) -> None:
        """Sleep as long as the server asked for; say why and until when, at most once a minute."""
        delay = asked or _LONGEST_DELAY
        present = time.monotonic()
        if self._said_at is None or present - self._said_at >= _SECONDS_BETWEEN_NOTES:
            self._said_at = present
            until = datetime.now().astimezone() + timedelta(seconds=delay)
            self._note(f"The queue is full. {detail} Sending resumes by itself at {until:%H:%M:%S}.")
        self._sleep(delay)


def may_pass(response: httpx.Response) -> bool:
    """Tell whether an answer says to try again; a full disk does where it says when."""
    is_disk = response.status_code == HTTPStatus.INSUFFICIENT_STORAGE and "Retry-After" in response.headers
    return is_disk or response.status_code in BUSY


def asked_delay(response: httpx.Response) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, section 10.2.3); None where it says nothing useful."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
