"""Child processes that end when their parent dies, however it dies."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def _load_libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


# Loaded before any fork: a child of a process with threads must not load anything.
_LIBC: Final = _load_libc()


def end_with_parent() -> None:
    """Have the kernel stop this process by SIGTERM when the one that started it dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
