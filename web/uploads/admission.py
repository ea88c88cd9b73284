"""Whether films may come in: not beyond a stated backlog, nor where a disk has too little room left.

What was accepted is never touched by this; a sender who is refused is told when to come back.
"""

import math
from typing import Final

from shared.errors import DiskLow, QueueFull
from shared.settings import MIB, Settings
from shared.tables import Priority
from web.watch.backlog import Backlog
from web.watch.status import Watch

DISK_SECONDS: Final = 5
"""A refusal before the body costs little, and senders go on soon after somebody made room."""
_ROOM_FILMS: Final = 32
_UNKNOWN_SECONDS: Final = 30
_LONGEST_SECONDS: Final = 300
# A request that was let in is not broken off for what others send, because its sender would have to begin anew; only
# at this many times the limit.
_HARD_LIMIT: Final = 2


def _mib(count: int) -> str:
    return f"{count / MIB:,.0f} MiB"


class Admission:
    """One request's way in: asked before its body is read, and again for each film that it brings."""

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self._settings = settings
        self._watch = watch
        self._most = settings.max_backlog

    def check(self, priority: Priority, films: int = 1, coming_bytes: int = 0) -> None:
        """Let a request go on that holds so many films so far.

        Raises DiskLow where what it brings would leave too little room, QueueFull where too many films wait. Films of
        interactive jobs have a reserve beyond the backlog, because someone waits for them.
        """
        self._check_disk(coming_bytes)
        waiting = self._watch.backlog()
        if waiting.films < self._most:
            self._most = _HARD_LIMIT * self._settings.max_backlog
            return
        if priority is Priority.INTERACTIVE and waiting.interactive + films <= self._settings.interactive_reserve:
            return
        raise self._queue_full(waiting)

    def _check_disk(self, coming_bytes: int) -> None:
        free = self._watch.free_bytes()
        if free is None or free - coming_bytes >= self._settings.min_free_bytes:
            return
        raise DiskLow(
            f"The server keeps {_mib(self._settings.min_free_bytes)} of its disk free for the films that it has. "
            f"{_mib(free)} are free, and this request brings {_mib(coming_bytes)}. Nothing of it was kept. Free disk "
            "space and send it again.",
            DISK_SECONDS,
        )

    def _queue_full(self, waiting: Backlog) -> QueueFull:
        speed = self._watch.speed()
        seconds = self._seconds_until_room(waiting, speed)
        pace = f"{speed:,.1f} films are screened a second" if speed else "None is being screened at the moment"
        when = f"There should be room in {seconds} s." if speed else f"Ask again in {seconds} s."
        return QueueFull(
            f"{waiting.films:,} films wait, and at most {self._settings.max_backlog:,} may. {pace}. Nothing of this "
            f"request was kept; what was accepted before is. {when}",
            seconds,
        )

    def _seconds_until_room(self, waiting: Backlog, speed: float) -> int:
        """Return in how many seconds some films have room, as fast as films go now."""
        if not speed:
            return _UNKNOWN_SECONDS
        excess = waiting.films - self._settings.max_backlog + _ROOM_FILMS
        return min(max(1, math.ceil(excess / speed)), _LONGEST_SECONDS)
