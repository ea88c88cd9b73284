"""Liveness of this machine's worker processes: each writes a file every few seconds, without any other service.

A probe that restarts workers must not do so because Redis, the database or the store is unavailable.
"""

import logging
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

LOST_AFTER_SECONDS: Final = 15.0
_STALE_SECONDS: Final = 600.0
"""A file not written for so long belongs to a killed process, and is removed."""
_DIGITS: Final = 20


def liveness_folder() -> Path:
    """Return the folder of this account's worker processes; each container has its own."""
    return Path(tempfile.gettempdir()) / f"pneumoscreen-workers-{os.getuid()}"


class Liveness:
    """The file of one process."""

    def __init__(self, folder: Path, process: int) -> None:
        self._place = folder / str(process)
        self._file: int | None = None
        self._has_warned = False

    def beat(self) -> None:
        """Record that this process is alive. A failing disk is logged once, and retried."""
        try:
            file = self._open()
            # The monotonic clock is common to all processes of a machine and never set.
            os.pwrite(file, f"{time.monotonic_ns():0{_DIGITS}}".encode(), 0)
        except OSError as error:
            if not self._has_warned:
                log.warning("Liveness cannot be written to %s: %s.", self._place, error)
            self._has_warned = True

    def end(self) -> None:
        """Remove the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._place.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._file is not None and os.fstat(self._file).st_nlink > 0:
            return self._file
        if self._file is not None:  # the temporary folder may have been cleaned up
            os.close(self._file)
            self._file = None
        self._place.parent.mkdir(mode=0o700, exist_ok=True)
        refuse_foreign(self._place.parent)
        _remove_stale(self._place.parent)
        self._file = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        return self._file


def live_processes(folder: Path) -> list[int]:
    """Return the ids of the worker processes that wrote their file within LOST_AFTER_SECONDS.

    Raises PermissionError where the folder belongs to another account.
    """
    if not folder.exists():
        return []
    refuse_foreign(folder)
    return sorted(int(path.name) for path, seconds in _ages(folder) if seconds <= LOST_AFTER_SECONDS)


def refuse_foreign(folder: Path) -> None:
    """Raise PermissionError where a folder does not belong to this account or is writable by others."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} belongs to somebody else or is open to others")


def _ages(folder: Path) -> list[tuple[Path, float]]:
    """Return each file with the seconds since it was written; those of another boot or half written are skipped."""
    now = time.monotonic_ns()
    ages = []
    for path in folder.iterdir():
        try:
            seconds = (now - int(path.read_bytes())) / 1e9
        except (FileNotFoundError, ValueError):
            continue
        if seconds >= 0 and path.name.isdecimal():
            ages.append((path, seconds))
    return ages


def _remove_stale(folder: Path) -> None:
    for path, seconds in _ages(folder):
        if seconds > _STALE_SECONDS:
            path.unlink(missing_ok=True)
