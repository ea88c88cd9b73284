"""Files being uploaded: read in pieces, with bytes counted and read errors attributed to the file."""

import io
from collections.abc import Callable

from cli.client.images import LocalFile


class FileReadError(Exception):
    """Say that one file could not be read while it was sent."""

    def __init__(self, file: LocalFile, reason: str) -> None:
        super().__init__(reason)
        self.file = file
        self.reason = reason


class ByteCount:
    """Count the bytes read in one attempt and report the total."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._total = 0
        report(0)

    def add(self, size: int) -> None:
        """Add the bytes of one read."""
        self._total += size
        self._report(self._total)


class WatchedFile(io.FileIO):
    """A file that counts the bytes read from it; raises FileReadError where it cannot be opened or read."""

    def __init__(self, file: LocalFile, count: ByteCount) -> None:
        self._file = file
        self._count = count
        try:
            super().__init__(file.path, "rb")
        except OSError as error:
            raise FileReadError(file, f"The file could not be read: {error.strerror}.") from error

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes."""
        try:
            data = super().read(size)
        except OSError as error:
            raise FileReadError(self._file, f"The file could not be read: {error.strerror}.") from error
        self._count.add(len(data))
        return data
