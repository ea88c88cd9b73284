"""End child processes when their parent dies, however it dies."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def _load_libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


# Loaded before any fork: the child of a multi-threaded process must not load libraries.
_LIBC: Final = _load_libc()


def end_with_parent() -> None:
    """Make the kernel send this process SIGTERM when its parent dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
