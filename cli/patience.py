"""Patience with a server that restarts: wait longer and longer, say so once, give up in the end."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx

from cli.errors import CommandFailed

PATIENCE: Final = 300.0
"""Seconds to wait for a server that has answered before."""
FIRST_PATIENCE: Final = 10.0
"""Seconds for the first request: a server that was never there is more likely a wrong address than a restart."""

BUSY: Final = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Answers that say to try again."""

# LocalProtocolError: a file changed its size while it was read; the next attempt reads it anew.
LOST: Final = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.LocalProtocolError)
"""Errors of a connection that may come back."""

_FIRST_DELAY: Final = 0.25
_LONGEST_DELAY: Final = 5.0


class GaveUp(CommandFailed):
    """Say that the server did not answer for too long."""


class Outage:
    """The time in which one request does not get through."""

    def __init__(self, url: str, patience: float, note: Callable[[str], None], sleep: Callable[[float], None]) -> None:
        self._url, self._patience, self._note, self._sleep = url, patience, note, sleep
        self._began: float | None = None
        self._delay = _FIRST_DELAY
        self._said = False

    def wait(self, trouble: str, asked: float | None = None) -> None:
        """Sleep before the next attempt, as long as the server asked for; raise GaveUp when patience would run out."""
        present = time.monotonic()
        # The first failure passes in silence: a server may just have closed a connection that was idle.
        is_first = self._began is None
        self._began = present if self._began is None else self._began
        delay = max(self._delay, asked or 0.0)
        left = self._patience - (present - self._began)
        if delay > left:
            raise GaveUp(f"{self._url} did not answer within {self._patience:g} s. {trouble}")
        if not self._said and (not is_first or delay > 1):
            self._said = True
            self._note(f"The server does not answer ({trouble}). Trying again for up to {left:.0f} s.")
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        self._sleep(delay)

    def end(self) -> None:
        """Say that the server is back, where its absence was told."""
        if self._said:
            self._note("The server answers again.")


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
