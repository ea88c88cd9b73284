"""Where the image store keeps its files: by path, each complete or absent. Here in a folder, in S3 by `bucket`."""

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
"""A folder, a link that leads to itself, a socket."""


@dataclass(frozen=True)
class Found:
    """One file of a listing."""

    path: str
    size: int
    """In bytes, as kept: more than the image's own where the store is encrypted."""
    modified_at: datetime


class Unusable(PneumoScreenError):
    """Say that what lies at a path is no file that this product wrote: a folder, a device, a pipe, or far too large."""


class Files(Protocol):
    """Keep files by path; raise StoreAway where the place cannot be reached, StoreFull where it is full."""

    place: TranslatableError
    """What the place is called where something is wrong with it."""

    def create(self, folder: str) -> None:
        """Make the place where files are kept, and a folder in it, on a first start; what is there already stays."""

    def has(self, folder: str) -> bool:
        """Say whether a folder is there; False where a disk is not mounted."""

    def receive(self) -> AbstractContextManager[BinaryIO]:
        """Open a temporary file on this machine, to write and to read; it is gone when the context ends."""

    def keep(self, file: BinaryIO, path: str, others: Sequence[str] = ()) -> None:
        """Put a received file in its place, whole; one that is there is replaced. `force` makes it last.

        `others` are places where the same may be already: it is never hidden by a file that a loss of power empties.
        """

    def force(self, paths: Sequence[str]) -> None:
        """Return once kept files outlast a loss of power: one call for many costs far less than one for each."""

    def write(self, path: str, data: bytes) -> None:
        """Write a small file that can be made again."""

    def read(self, path: str, most: int) -> bytes:
        """Return a file's bytes; raise FileNotFoundError where there is none, Unusable where there are over `most`."""

    def version(self, path: str) -> object:
        """Return what differs once a file was replaced, None where that costs as much as reading it.

        Raises FileNotFoundError where there is none.
        """

    def holds(self, path: str) -> bool:
        """Say whether a file is there."""

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""

    def remove_older(self, path: str, before: datetime) -> bool:
        """Remove a file unless it was kept since `before`, and tell whether it is gone.

        Looking and removing are one step: a `keep` at this moment either saves the file or comes after and is whole.
        """

    def list(self, folder: str) -> Iterator[Found]:
        """Yield the files under a folder, in any order; whatever cannot be looked at raises, and ends the listing."""

    def check(self) -> None:
        """Write something, to see that an image could be kept."""

    def remove_unfinished(self, before: datetime) -> int:
        """Remove what a killed process left half received, and return how many files."""


def reopen(file: BinaryIO) -> BinaryIO:
    """Open an open file once more, from its start; closing it leaves the first one open."""
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

    Paths are text where every image passes: with pathlib a small picture took 44 µs to write, so it takes 34.
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
        """Open a temporary file on the store's own disk, so that keeping it moves no bytes."""
        name = f"{self._incoming}/{secrets.token_hex(16)}"
        with RaiseStoreAway(self.place):
            try:
                opened = open(name, "x+b", opener=_open_private)  # noqa: SIM115  # closed below, outside this `with`
            except FileNotFoundError:
                # A copy of a store may lack its empty folders; a root that is gone is not made anew.
                self._incoming.mkdir(exist_ok=True)
                opened = open(name, "x+b", opener=_open_private)  # noqa: SIM115  # as above
        try:
            # Closing flushes, and so can be the moment in which the disk turns out to be full.
            with RaiseStoreFull(), opened as file:
                yield file
        finally:
            with suppress(FileNotFoundError):  # it was given its place
                os.unlink(name)  # noqa: PTH108  # see the class

    def keep(self, file: BinaryIO, path: str, others: Sequence[str] = ()) -> None:
        """Give a received file its place: a new name where there is none, else in exchange for what is there."""
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
        """Put a file into its folder, which is made for the first one, and forced to disk where it is to last.

        A root that is gone is a disk that is not mounted, and is not made anew.
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
        """Look at a file's number, time and size: every file comes by a rename, so each has a number of its own."""
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
        """Unlink an old file while it is locked; `keep` waits for the lock before it replaces one."""
        place = self.root / path
        with RaiseStoreAway(self.place), _held(place, fcntl.LOCK_EX) as status:
            if status is None:
                return True
            if status.st_mtime >= before.timestamp():
                return False
            place.unlink()
        return True

    def list(self, folder: str) -> Iterator[Found]:
        """Walk a folder; a file that vanishes meanwhile is left out, and a folder that no file was kept in is empty."""
        top = f"{self.root}/{folder}"
        with RaiseStoreAway(self.place):
            if not _is_there(top):
                return
            # os.walk passes over what it cannot list and over links to other disks, unless it is told not to.
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
                # An upload that ends meanwhile takes its file away.
                with suppress(FileNotFoundError):
                    if path.lstat().st_mtime < before.timestamp():
                        path.unlink()
                        removed += 1
        return removed


def _is_there(path: str) -> bool:
    """Look whether something is there; unlike os.path.exists, an error is not taken for an absence."""
    try:
        os.stat(path)  # noqa: PTH116  # see FolderFiles
    except FileNotFoundError:
        return False
    return True


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _held(path: Path, how: int) -> Iterator[os.stat_result | None]:
    """Lock a file, shared or for one alone, and give its status; None where there is no such file."""
    while True:
        try:
            # A network share locks for one alone only what is open for writing (flock(2), NFS details).
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
    """Tell whether a path still leads to the file that was opened: who waits for a lock may wait for its end."""
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False


def _open_unblocked(path: str, flags: int) -> int:
    # A pipe that somebody put there would hold its reader up for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _put(file: BinaryIO, place: str) -> None:
    if not _name_anew(file, place):
        _exchange(file, place)


def _name_anew(file: BinaryIO, place: str) -> bool:
    """Give a file a second name; False where one is there, or the disk knows no second names (some network shares)."""
    try:
        os.link(file.name, place)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # not here, it seems; where the disk has another fault, the exchange will say so
        return False
    return True


def _exchange(file: BinaryIO, place: str) -> None:
    """Put a file in another's place, on disk before: after a loss of power the old one is there, or the whole new one.

    A new name is given without that: nothing is lost with it, and no row leads to it until it is forced.
    """
    os.fsync(file.fileno())
    with _held(Path(place), fcntl.LOCK_SH):
        os.replace(file.name, place)  # noqa: PTH105
