"""Write the output of the supervised programs to log files: `python -m cli.serving.log_writer FOLDER NAME=FD ...`.

A separate process, so that a full or missing disk blocks neither program nor supervisor: they write into pipes. It ends
when all writers of every pipe have ended. It imports little, because it runs as long as the server.
"""

import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 10 * 1024 * 1024
"""A log is renamed to `.log.1` when it would grow beyond this."""
_READ_BYTES: Final = 64 * 1024


class LogFile:
    """Append to a log that may be renamed, deleted or out of space at any time; what cannot be written is counted."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path, self._limit = path, limit
        self._file: int | None = None
        self._lost = 0
        self._reason: str | None = None

    def write(self, data: bytes) -> None:
        """Append, to a new file where the former one is no longer at its path; never raise for a disk."""
        notice = f"--- {self._lost} bytes could not be written here: {self._reason}\n" if self._lost else ""
        left = memoryview(notice.encode() + data)
        try:
            file = self._ready(len(left))
            while left:
                left = left[os.write(file, left) :]
        except OSError as error:
            self._reason = error.strerror
        self._lost = self._lost + len(data) if len(left) > len(data) else len(left)

    def _ready(self, count: int) -> int:
        """Return the open file, with room for `count` bytes below the limit."""
        file = self._open_at_path()
        if os.fstat(file).st_size + count <= self._limit:
            return file
        try:
            self._path.replace(self._path.with_suffix(".log.1"))
        except OSError:  # such as a folder of that name: the log is truncated instead
            os.ftruncate(file, 0)
        return self._open_at_path()

    def _open_at_path(self) -> int:
        if self._file is not None:
            if self._is_at_path(self._file):
                return self._file
            os.close(self._file)
            self._file = None
        self._file = self._open()
        return self._file

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            # Not its parents: a data folder that is not mounted must not be recreated at its mount point.
            self._path.parent.mkdir(mode=0o700)
            return os.open(self._path, flags, 0o600)


def copy(folder: Path, pipes: dict[str, int], limit: int = LOG_BYTES) -> None:
    """Copy each pipe to its log, until all have ended."""
    logs = {pipe: LogFile(folder / f"{name}.log", limit) for name, pipe in pipes.items()}
    poll = select.poll()
    for pipe in logs:
        poll.register(pipe, select.POLLIN)
    while logs:
        for pipe, _event in poll.poll():
            data = os.read(pipe, _READ_BYTES)
            if data:
                logs[pipe].write(data)
            else:
                poll.unregister(pipe)
                del logs[pipe]


def main(arguments: Sequence[str]) -> None:
    """Copy until the end of every pipe; signals that stop the programs do not stop their logs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder, *pipes = arguments
    copy(Path(folder), {name: int(number) for name, _, number in (pipe.partition("=") for pipe in pipes)})


if __name__ == "__main__":
    main(sys.argv[1:])
