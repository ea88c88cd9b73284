"""Inject faults into a program by orders: die at this point, take this long, see this time.

An order is a file in the folder that CHAOS_FOLDER names. The product has no code for it; `hurt_*` wrap its functions.
"""

import ctypes
import functools
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from shared import db

P = ParamSpec("P")
R = TypeVar("R")

FOLDER_VARIABLE: Final = "CHAOS_FOLDER"
IMAGE_SECONDS_VARIABLE: Final = "CHAOS_IMAGE_SECONDS"
CLOCK: Final = "clock"
POISON: Final = b"CHAOS: this image kills its worker"
"""An image that ends with these bytes crashes its decoder."""
UNREADABLE: Final = b"CHAOS: this image's file cannot be read"
"""The file of an image that ends with these bytes is broken before a worker gets it."""

_CLOCK_SECONDS: Final = 0.1
"""How long a process caches the clock's offset."""


def orders() -> Path:
    """Return the folder of orders."""
    return Path(os.environ[FOLDER_VARIABLE])


def dying(point: str, function: Callable[P, R], *, afterwards: bool = False) -> Callable[P, R]:
    """Wrap a function so that, on order, its process dies before it, or `afterwards`."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not afterwards:
            die_if_ordered(point)
        result = function(*args, **kwargs)
        if afterwards:
            die_if_ordered(point)
        return result

    return wrapped


def die_if_ordered(point: str) -> None:
    """Kill this process if there is an order for this point; one order kills one process."""
    try:
        (orders() / point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def crash_on_poison(data: bytes) -> None:
    """Crash like a broken native decoder: read unmapped memory (SIGSEGV)."""
    if data.endswith(POISON):
        ctypes.string_at(0)


def slowed(order: str, seconds: float, function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that it takes longer while the order exists."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if (orders() / order).exists():
            time.sleep(seconds)
        return function(*args, **kwargs)

    return wrapped


class _Offset:
    """The offset of this process's clock, in seconds."""

    def __init__(self) -> None:
        self._seconds, self._read_at = 0.0, 0.0

    def __call__(self) -> float:
        present = time.monotonic()
        if present - self._read_at > _CLOCK_SECONDS:
            self._seconds, self._read_at = self._read(), present
        return self._seconds

    def _read(self) -> float:
        try:
            return float((orders() / CLOCK).read_text())
        except FileNotFoundError:
            return 0.0


def bend_clock() -> None:
    """Replace this process's clocks by ones that an order can shift; call it before importing the product.

    The monotonic clock is left alone, as when an administrator or NTP sets the time (clock_gettime(2)).
    """
    offset, seconds, nanoseconds, present = _Offset(), time.time, time.time_ns, db.now

    def bent_now() -> datetime:
        return present() + timedelta(seconds=offset())

    bent: dict[Any, dict[str, Callable[[], Any]]] = {
        time: {"time": lambda: seconds() + offset(), "time_ns": lambda: nanoseconds() + int(offset() * 1e9)},
        db: {"now": bent_now},
    }
    for module, clocks in bent.items():
        for name, clock in clocks.items():
            setattr(module, name, clock)
