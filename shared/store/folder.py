"""Keep the image store's files by path, each complete or absent: here in a folder, in S3 by `bucket`."""

import errno
import fcntl
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from shared.errors import PneumoScreenError, StoreAway, StoreFull, TranslatableError
from shared.store.durability import force, force_files

log = logging.getLogger(__name__)

INCOMING: Final = "incoming"

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FILE: Final = {errno.EISDIR, errno.ELOOP, errno.ENXIO}
"""For a folder, a circular link, a socket."""


@dataclass(frozen=True)
class Found:
    """One file of a listing."""

    path: str
    size: int
    """Stored size in bytes: more than the image's own where the store is encrypted."""
    modified_at: datetime


class Unusable(PneumoScreenError):
    """Say that a path holds no file written by this product: a folder, a device, a pipe, or far too large."""


class Files(Protocol):
    """Keep files by path; raise StoreAway where the storage is unavailable, StoreFull where it is full."""

    place: TranslatableError
    """The storage's name in error messages."""

    def create(self, folder: str) -> None:
        """Create the storage and a folder in it, on a first start; what exists is left alone."""

    def has(self, folder: str) -> bool:
        """Tell whether a folder exists; False where a disk is not mounted."""

    def receive(self) -> AbstractContextManager[BinaryIO]:
        """Open a temporary file on this machine for writing and reading; it is deleted when the context ends."""

    def keep(self, file: BinaryIO, path: str, others: Sequence[str] = ()) -> None:
        """Store a received file atomically, replacing any present one. `force` makes it durable.

        `others` are paths where the same content may already be: a file that a power loss empties must never hide it.
        """

    def force(self, paths: Sequence[str]) -> None:
        """Return once stored files are durable: one call for many costs far less than one for each."""

    def write(self, path: str, data: bytes) -> None:
        """Write a small file that can be regenerated."""

    def read(self, path: str, most: int) -> bytes:
        """Return a file's bytes; raise FileNotFoundError where there is none, Unusable where there are over `most`."""

    def version(self, path: str) -> object:
        """Return a value that changes when a file is replaced, None where that costs as much as reading it.

        Raises FileNotFoundError where there is none.
        """

    def holds(self, path: str) -> bool:
        """Tell whether a file exists."""

    def remove(self, path: str) -> None:
        """Remove a file; a missing one is no error."""

    def remove_older(self, path: str, before: datetime) -> bool:
        """Remove a file unless it was stored since `before`, and tell whether it is gone.

        Check and removal are atomic: a concurrent `keep` either preserves the file or comes after and is complete.
        """

    def list(self, folder: str) -> Iterator[Found]:
        """Yield the files under a folder, in any order; anything that cannot be inspected raises and ends it."""

    def check(self) -> None:
        """Write something, to check that an image could be stored."""

    def remove_unfinished(self, before: datetime) -> int:
        """Remove partly received files left by killed processes, and return how many."""


def reopen(file: BinaryIO) -> BinaryIO:
    """Reopen an open file from its start; closing it leaves the first one open."""
    again = os.fdopen(os.dup(file.fileno()), "rb")
    again.seek(0)
    return again


class RaiseStoreFull:
    """Turn a disk without room into StoreFull.

    A class, as RaiseStoreAway is, because each image passes several: a generator takes three times as long.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise StoreFull("The image store has no room left. Make room there and send the X-rays again.") from error


class RaiseStoreAway(RaiseStoreFull):
    """Turn a disk without room into StoreFull, and one that fails otherwise into StoreAway."""

    def __init__(self, place: TranslatableError) -> None:
        self._place = place

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        super().__exit__(kind, error, traceback)
        if isinstance(error, OSError):
            raise StoreAway(
                "%(store)s cannot be used: %(problem)s.", store=self._place, problem=error.strerror
            ) from error


class FolderFiles:
    """Files in a folder of this machine or of a network share.

    Paths are strings where every image passes: writing a small picture takes 34 µs, with pathlib it took 44.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / INCOMING
        self.place = TranslatableError("The image store in %(folder)s", folder=root)

    def __str__(self) -> str:
        return str(self.place)

    def create(self, folder: str) -> None:
        """Make the folders."""
        with RaiseStoreAway(self.place):
            for made in (self._incoming, self.root / folder):
                made.mkdir(parents=True, exist_ok=True)

    def has(self, folder: str) -> bool:
        """Look for a folder."""
        with RaiseStoreAway(self.place):
            return _is_there(f"{self.root}/{folder}/.")

    @contextmanager
    def receive(self) -> Iterator[BinaryIO]:
        """Open a temporary file on the store's own disk, so that storing it copies no bytes."""
        name = f"{self._incoming}/{secrets.token_hex(16)}"
        with RaiseStoreAway(self.place):
            try:
                opened = open(name, "x+b", opener=_open_private)  # noqa: SIM115  # closed below, outside this `with`
            except FileNotFoundError:
                # A copied store may lack empty folders; a missing root is not created again.
                self._incoming.mkdir(exist_ok=True)
                opened = open(name, "x+b", opener=_open_private)  # noqa: SIM115  # as above
        try:
            # Closing flushes, and so can be the moment in which the disk turns out to be full.
            with RaiseStoreFull(), opened as file:
                yield file
        finally:
            with suppress(FileNotFoundError):  # it has been stored
                os.unlink(name)  # noqa: PTH108  # see the class

    def keep(self, file: BinaryIO, path: str, others: Sequence[str] = ()) -> None:
        """Move a received file into place: link it where nothing exists, else replace what is there."""
        place = f"{self.root}/{path}"
        with RaiseStoreAway(self.place):
            file.flush()
            if any(_is_there(f"{self.root}/{other}") for other in others):
                os.fsync(file.fileno())
            self._in_folder(place, lambda: _put(file, place), is_lasting=True)

    def force(self, paths: Sequence[str]) -> None:
        """Force files and their names to disk."""
        with RaiseStoreAway(self.place):
            force_files(self.root, paths)

    def write(self, path: str, data: bytes) -> None:
        """Write a file under a temporary name and rename it; it is not forced to disk."""
        place = f"{self.root}/{path}"
        with RaiseStoreAway(self.place), self.receive() as file:
            file.write(data)
            file.flush()
            self._in_folder(place, lambda: os.replace(file.name, place))  # noqa: PTH105

    def _in_folder(self, place: str, put: Callable[[], object], *, is_lasting: bool = False) -> None:
        """Put a file into its folder, which is created for the first one, and forced to disk if it must be durable.

        A missing root means that a disk is not mounted; it is not created again.
        """
        try:
            put()
        except FileNotFoundError:
            self.root.stat()
            made = Path(place).parent
            made.mkdir(parents=True, exist_ok=True)
            for folder in made.relative_to(self.root).parents if is_lasting else ():
                force(self.root / folder)
            put()

    def read(self, path: str, most: int) -> bytes:
        """Read a regular file."""
        try:
            with open(f"{self.root}/{path}", "rb", 0, opener=_open_unblocked) as file:  # see the class
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                    raise Unusable(f"{path} is no regular file of at most {most:,} bytes.")
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _NO_FILE:
                raise Unusable(f"{path} is no file.") from error
            raise StoreAway(
                "%(store)s cannot be read: %(problem)s.", store=self.place, problem=error.strerror
            ) from error

    def version(self, path: str) -> object:
        """Return a file's inode, time and size: every file arrives by a rename, and so has its own inode."""
        try:
            status = os.stat(f"{self.root}/{path}")  # noqa: PTH116  # see the class
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path} is not there.") from error
        except OSError as error:
            raise StoreAway(
                "%(store)s cannot be read: %(problem)s.", store=self.place, problem=error.strerror
            ) from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def holds(self, path: str) -> bool:
        """Look for a file."""
        with RaiseStoreAway(self.place):
            return _is_there(f"{self.root}/{path}")

    def remove(self, path: str) -> None:
        """Unlink a file."""
        with RaiseStoreAway(self.place):
            (self.root / path).unlink(missing_ok=True)

    def remove_older(self, path: str, before: datetime) -> bool:
        """Unlink an old file while it is locked; `keep` waits for the lock before replacing one."""
        place = self.root / path
        with RaiseStoreAway(self.place), _held(place, fcntl.LOCK_EX) as status:
            if status is None:
                return True
            if status.st_mtime >= before.timestamp():
                return False
            place.unlink()
        return True

    def list(self, folder: str) -> Iterator[Found]:
        """Walk a folder; a file that vanishes meanwhile is skipped, and a folder that does not exist yet is empty."""
        top = f"{self.root}/{folder}"
        with RaiseStoreAway(self.place):
            if not _is_there(top):
                return
            # By default os.walk skips what it cannot list, and links to other disks.
            for place, _folders, names in os.walk(top, onerror=_raise, followlinks=True):
                yield from self._found(place, names)

    def _found(self, place: str, names: Sequence[str]) -> Iterator[Found]:
        for name in names:
            path = Path(place, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            at = datetime.fromtimestamp(status.st_mtime, UTC)
            yield Found(path.relative_to(self.root).as_posix(), status.st_size, at)

    def check(self) -> None:
        """Write one byte beside the images on their way in."""
        with RaiseStoreAway(self.place), tempfile.TemporaryFile(dir=self._incoming) as file:
            file.write(b"0")
            file.flush()

    def remove_unfinished(self, before: datetime) -> int:
        """Remove old temporary files."""
        removed = 0
        with RaiseStoreAway(self.place):
            for path in self._incoming.iterdir():
                # An upload that ends meanwhile removes its own file.
                with suppress(FileNotFoundError):
                    if path.lstat().st_mtime < before.timestamp():
                        path.unlink()
                        removed += 1
        return removed


def _is_there(path: str) -> bool:
    """Tell whether a path exists; unlike os.path.exists, errors do not count as absence."""
    try:
        os.stat(path)  # noqa: PTH116  # see FolderFiles
    except FileNotFoundError:
        return False
    return True


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _held(path: Path, how: int) -> Iterator[os.stat_result | None]:
    """Lock a file, shared or exclusive, and yield its status; None where there is no such file."""
    while True:
        try:
            # NFS allows an exclusive lock only on a file open for writing (flock(2), NFS details).
            file = path.open("rb" if how == fcntl.LOCK_SH else "r+b")
        except FileNotFoundError:
            yield None
            return
        with file:
            fcntl.flock(file, how)
            status = os.fstat(file.fileno())
            if _is_still(path, status):
                yield status
                return


def _is_still(path: Path, status: os.stat_result) -> bool:
    """Tell whether a path still refers to the opened file, which may have been removed while waiting for its lock."""
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False


def _open_unblocked(path: str, flags: int) -> int:
    # Opening a pipe here would block for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _put(file: BinaryIO, place: str) -> None:
    if not _name_anew(file, place):
        _exchange(file, place)


def _name_anew(file: BinaryIO, place: str) -> bool:
    """Hard-link a file; False where the name exists, or the disk has no hard links (some network shares)."""
    try:
        os.link(file.name, place)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # no hard links, it seems; on any other fault the replacement raises
        return False
    return True


def _exchange(file: BinaryIO, place: str) -> None:
    """Replace a file after syncing the new one: after a power loss either the old or the complete new one is there.

    A new name needs no sync: nothing is lost with it, and no row refers to it until it is forced.
    """
    os.fsync(file.fileno())
    with _held(Path(place), fcntl.LOCK_SH):
        os.replace(file.name, place)  # noqa: PTH105
