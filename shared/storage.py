"""The image store: films by content. A name that a user chose is shown, never used as a path."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import StoreAway, StoreFull

THUMBNAIL = "thumbnail"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Incoming:
    """A film on its way in: a temporary file that is hashed while it is written."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.path = path
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes; raise StoreFull where the disk has no room."""
        with _room():
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def settle(self) -> None:
        """Force the bytes to disk."""
        with _room():
            self._file.flush()
            os.fsync(self._file.fileno())

    def flush(self) -> None:
        """Make the bytes readable by path."""
        with _room():
            self._file.flush()

    @property
    def sha256(self) -> str:
        """Return the hash of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()


class Store(Protocol):
    """Keep films by the sha256 of their bytes, and small pictures derived from them."""

    def receive(self) -> AbstractContextManager[Incoming]:
        """Open a place to write one film to; what is not kept is gone when the context ends."""

    def keep(self, incoming: Incoming) -> str:
        """Store a received film for good and return its key."""

    def get(self, key: str) -> bytes:
        """Return a film's bytes; raise FileNotFoundError where there is none, StoreAway where there is no store."""

    def put_derived(self, key: str, kind: str, data: bytes) -> None:
        """Store a small picture made from a film."""

    def get_derived(self, key: str, kind: str) -> bytes:
        """Return a small picture; raise FileNotFoundError where there is none."""


class FolderStore:
    """A store in a folder: `films/ab/cd/<sha256>`, each file complete or absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        with _room():
            self._incoming.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Open a temporary file on the store's own disk, so that keeping it is a rename."""
        with _room():
            handle, name = tempfile.mkstemp(dir=self._incoming)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield Incoming(file, path)
        except OSError as error:
            # Closing flushes, and so can be the moment in which the disk turns out to be full.
            if error.errno in _NO_ROOM:
                raise StoreFull(f"The image store in {self.root} has no room left.") from error
            raise
        finally:
            path.unlink(missing_ok=True)

    def keep(self, incoming: Incoming) -> str:
        """Rename a received film into place; a film that is there already stays as it is."""
        key = incoming.sha256
        path = self._path("films", key)
        if path.exists():
            return key
        incoming.settle()
        with _room():
            path.parent.mkdir(parents=True, exist_ok=True)
            incoming.path.replace(path)
            _sync_folder(path.parent)
        return key

    def get(self, key: str) -> bytes:
        """Read a film; raise StoreAway where not this film but the store is missing."""
        try:
            return self._path("films", key).read_bytes()
        except FileNotFoundError:
            if (self.root / "films").is_dir():
                raise
            raise StoreAway(f"The image store in {self.root} is not there.") from None
        except OSError as error:
            raise StoreAway(f"The image store in {self.root} cannot be read: {error.strerror}.") from error

    def remove_unfinished(self, before: datetime) -> int:
        """Remove what a killed process left half received, and return how many files."""
        old = [path for path in self._incoming.iterdir() if path.stat().st_mtime < before.timestamp()]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def put_derived(self, key: str, kind: str, data: bytes) -> None:
        """Write a derived picture; it can be made again, so it is not forced to disk."""
        path = self._path(kind, key)
        with _room():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)

    def get_derived(self, key: str, kind: str) -> bytes:
        """Read a derived picture."""
        return self._path(kind, key).read_bytes()

    def _path(self, kind: str, key: str) -> Path:
        if len(key) != hashlib.sha256().digest_size * 2 or not set(key) <= set("0123456789abcdef"):
            raise ValueError(f"A key is a sha256 in hexadecimal. Received: {key!r}")
        return self.root / kind / key[:2] / key[2:4] / key


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StoreFull("The image store has no room left. Free disk space and send the films again.") from error
        raise


def _sync_folder(path: Path) -> None:
    """Force a rename to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
