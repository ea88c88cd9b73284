"""Admission control: refuse images beyond a set backlog, or where a disk has too little room left.

Accepted images are never affected; a refused sender is told when to retry.
"""

import math
from typing import Final

from shared.errors import DiskLow, QueueFull
from shared.settings import MIB, Settings
from shared.submission.backlog import Backlog
from shared.submission.capacity import Capacity
from shared.submission.new_store import create_if_new
from shared.submission.services import Services
from shared.tables import Priority

DISK_SECONDS: Final = 5
"""A refusal before the body costs little, and senders continue soon after room has been made."""
_ROOM_IMAGES: Final = 32
_UNKNOWN_SECONDS: Final = 30
_LONGEST_SECONDS: Final = 300
# An admitted request is not aborted because of what others send, since its sender would have to start over; only at
# this many times the limit.
_HARD_LIMIT: Final = 2


def admit(services: Services) -> "Admission":
    """Return the admission check of a submission; raise StoreAway where there is no image store for it."""
    create_if_new(services.database, services.store)
    return Admission(services.settings, services.capacity)


def choose_priority(settings: Settings, wanted: Priority | None, images: int | None) -> Priority:
    """Return the requested priority, else the one for so many images; None means that the number is not known yet."""
    if wanted is not None:
        return wanted
    is_small = images is not None and images <= settings.interactive_images
    return Priority.INTERACTIVE if is_small else Priority.BULK


def _mib(count: int) -> int:
    return round(count / MIB)


class Admission:
    """Check one submission before any image is read, and again for each image."""

    def __init__(self, settings: Settings, capacity: Capacity) -> None:
        self._settings = settings
        self._capacity = capacity
        self._most = settings.max_backlog

    def check(self, priority: Priority, images: int = 1, coming_bytes: int = 0) -> None:
        """Let a request with so many images so far continue.

        Raises DiskLow where its content would leave too little room, QueueFull where too many images wait. Images of
        interactive jobs have a reserve beyond the backlog, because someone waits for them.
        """
        self._check_disk(coming_bytes)
        waiting = self._capacity.backlog()
        if waiting.images < self._most:
            self._most = _HARD_LIMIT * self._settings.max_backlog
            return
        if priority is Priority.INTERACTIVE and waiting.interactive + images <= self._settings.interactive_reserve:
            return
        raise self._queue_full(waiting)

    def _check_disk(self, coming_bytes: int) -> None:
        free = self._capacity.free_bytes()
        if free is None or free - coming_bytes >= self._settings.min_free_bytes:
            return
        raise DiskLow(
            "The server keeps %(kept)s MiB of disk space in reserve for the X-rays that it has. %(free)s MiB are free, "
            "and this request needs %(coming)s MiB. Nothing of it was kept. Free disk space and send it again.",
            DISK_SECONDS,
            kept=_mib(self._settings.min_free_bytes),
            free=_mib(free),
            coming=_mib(coming_bytes),
        )

    def _queue_full(self, waiting: Backlog) -> QueueFull:
        speed = self._capacity.speed()
        seconds = self._seconds_until_room(waiting, speed)
        numbers = {"waiting": waiting.images, "most": self._settings.max_backlog, "seconds": seconds}
        if not speed:
            return QueueFull(
                "%(waiting)s X-rays are waiting, and the limit is %(most)s. None are being screened at the moment. "
                "Nothing of this request was kept; X-rays accepted before are safe. Try again in %(seconds)s s.",
                seconds,
                **numbers,
            )
        return QueueFull(
            "%(waiting)s X-rays are waiting, and the limit is %(most)s. %(speed)s X-rays are screened per second. "
            "Nothing of this request was kept; X-rays accepted before are safe. There should be room in %(seconds)s s.",
            seconds,
            speed=float(speed),
            **numbers,
        )

    def _seconds_until_room(self, waiting: Backlog, speed: float) -> int:
        """Estimate in how many seconds there is room for more images, at the present speed."""
        if not speed:
            return _UNKNOWN_SECONDS
        excess = waiting.images - self._settings.max_backlog + _ROOM_IMAGES
        return min(max(1, math.ceil(excess / speed)), _LONGEST_SECONDS)
