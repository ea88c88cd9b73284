"""Track child processes that are still loading their network, so that a stop can kill them: they hold no images yet."""

import mmap
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SLOTS: Final = 1024
"""The most children, by number in the pool; a stop waits for any further ones."""
_PID: Final = struct.Struct("q")


class LoadingProcesses:
    """The loading children's process ids, in memory shared with children forked afterwards."""

    def __init__(self) -> None:
        self._pids = mmap.mmap(-1, _SLOTS * _PID.size)
        self._has_ended = mmap.mmap(-1, 1)

    @contextmanager
    def noted(self, number: int) -> Iterator[None]:
        """Mark this child as loading while the context lasts; exit at once if a stop has already begun.

        Until the pool itself handles the stop, it replaces every child that was killed.
        """
        self._note(number, os.getpid())
        if self._has_ended[0]:
            sys.exit()
        try:
            yield
        finally:
            self._note(number, 0)

    def _note(self, number: int, pid: int) -> None:
        if number < _SLOTS:
            _PID.pack_into(self._pids, number * _PID.size, pid)

    def end(self) -> int:
        """Kill the children that are still loading and return how many; their replacements exit by themselves."""
        self._has_ended[0] = 1
        pids = [pid for (pid,) in _PID.iter_unpack(self._pids[:]) if pid]
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just died by itself
                os.kill(pid, signal.SIGKILL)
        return len(pids)
