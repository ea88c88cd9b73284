"""Which child processes still load their network, so that a stop need not wait for them: they have no images yet."""

import mmap
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SLOTS: Final = 1024
"""Children by their number in the pool; a machine with more of them waits for those at a stop."""
_PID: Final = struct.Struct("q")


class LoadingProcesses:
    """Memory that a process shares with the children that it forks afterwards."""

    def __init__(self) -> None:
        self._pids = mmap.mmap(-1, _SLOTS * _PID.size)
        self._has_ended = mmap.mmap(-1, 1)

    @contextmanager
    def noted(self, number: int) -> Iterator[None]:
        """Note in a child that it loads, for as long as the context lasts; end the child where a stop came before.

        A pool puts another child in the place of one that was killed, until it comes to hear of the stop itself.
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
        """Kill the children that still load, and return how many; those that come after them end by themselves."""
        self._has_ended[0] = 1
        pids = [pid for (pid,) in _PID.iter_unpack(self._pids[:]) if pid]
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just died by itself
                os.kill(pid, signal.SIGKILL)
        return len(pids)
