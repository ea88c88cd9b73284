"""Receive ZIP uploads: check every entry before anything is unpacked."""

import errno
import lzma
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, Final

from shared.errors import ImageRejected
from shared.intake.accept import (
    HEAD_BYTES,
    ZIP_SIGNATURES,
    Received,
    accept,
    display_name,
    is_image,
    read_chunks,
    reject,
    take,
)
from shared.intake.left_out import DICOMDIR, why_left_out
from shared.intake.natural_order import natural_key
from shared.intake.pseudonyms import conceal
from shared.intake.zip_names import decode_name, unread_method
from shared.refusals import Rejection
from shared.settings import MIB, Settings
from shared.store.store import Store

_ENCRYPTED_FLAG: Final = 0x1  # APPNOTE.TXT 4.4.4, general purpose bit 0
_SIGNATURE_BYTES: Final = 4
# A directory entry has 46 bytes and a name; real ones seldom reach 200.
_DIRECTORY_BYTES_AN_ENTRY: Final = 256
_LEAST_READ: Final = 1 * MIB
"""Always allowed: zipfile reads the end of a file, with its comment, and entries in smaller pieces."""
_LOCAL_HEADER: Final = b"PK\x03\x04"
_LOCAL_HEADER_BYTES: Final = 30  # followed by a name and extra fields of any length (APPNOTE.TXT 4.3.7)
# What zipfile and its libraries raise for a damaged entry.
_UNPACK_ERRORS: Final = (
    zipfile.BadZipFile, OSError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError, OverflowError,
)  # fmt: skip
# A tiny entry compresses well without being a bomb.
_BOMB_FLOOR: Final = 1 * MIB


def receive(
    file_name: str,
    chunks: Iterable[bytes],
    store: Store,
    settings: Settings,
    left_out: Counter[str] | None = None,
) -> Iterator[Received]:
    """Receive one uploaded file: an image gives one result, a ZIP one for each image inside it.

    Non-image files of a patient's disc are skipped and counted in `left_out` by reason. Names in the results are
    pseudonyms where the settings ask for them. Raises StoreFull where the disk has no room.
    """
    # The only place that conceals file names: every result passes here.
    left_out = Counter() if left_out is None else left_out
    with closing(_Intake(file_name, store, settings, left_out).receive(chunks)) as results:
        for received in results:
            yield replace(received, file_name=display_name(conceal(received.file_name, settings)))


class _Intake:
    """One uploaded file on its way into the store, by whose name its results are named."""

    def __init__(self, file_name: str, store: Store, settings: Settings, left_out: Counter[str]) -> None:
        self._file_name = display_name(file_name)
        self._store = store
        self._settings = settings
        self._left_out = left_out

    def receive(self, chunks: Iterable[bytes]) -> Generator[Received]:
        """Take in the file: an image gives one result, a ZIP one for each image inside it."""
        stream = iter(chunks)
        first = _head(stream)
        if first.startswith(ZIP_SIGNATURES):
            yield from self._receive_zip(_rejoin(first, stream))
        else:
            yield take(self._file_name, _rejoin(first, stream), self._store, self._settings)

    def _receive_zip(self, chunks: Iterator[bytes]) -> Iterator[Received]:
        with self._store.receive() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            incoming.finish()
            with incoming.open() as file:
                yield from self._read_zip(file)

    def _read_zip(self, file: IO[bytes]) -> Iterator[Received]:
        most_of_directory = self._settings.max_zip_entries * _DIRECTORY_BYTES_AN_ENTRY
        try:
            archive = zipfile.ZipFile(_BoundedFile(file, most_of_directory))
        except _DirectoryTooLarge:
            yield self._refuse_too_many()
            return
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
            yield reject(self._file_name, Rejection.ZIP_UNREADABLE, case="directory")
            return
        with archive:
            yield from self._unpack(archive)

    def _refuse_too_many(self) -> Received:
        return reject(self._file_name, Rejection.ZIP_TOO_MANY_ENTRIES, most=self._settings.max_zip_entries)

    def _unpack(self, archive: zipfile.ZipFile) -> Iterator[Received]:
        entries, limit = archive.infolist(), self._settings.max_zip_bytes
        if len(entries) > self._settings.max_zip_entries:
            yield self._refuse_too_many()
            return
        if sum(entry.file_size for entry in entries) > limit:
            yield reject(self._file_name, Rejection.ZIP_TOO_LARGE, limit_mib=limit // MIB)
            return
        overlapping, has_rows = _overlapping(entries, archive.start_dir), False
        for entry in sorted(entries, key=lambda entry: natural_key(display_name(decode_name(entry)))):
            if _is_folder(entry.filename):
                continue
            shown = display_name(decode_name(entry))
            why = why_left_out(shown)
            if why is not None and not _is_image_after_all(archive, entry, overlapping):
                self._left_out[why] += 1
                continue
            has_rows = True
            name = _entry_name(self._file_name, shown)
            yield _damaged(name) if id(entry) in overlapping else self._unpack_entry(name, archive, entry)
        if _begins_unlisted(archive, entries):
            yield reject(self._file_name, Rejection.ZIP_UNREADABLE, case="unlisted")
        elif not has_rows:
            yield reject(self._file_name, Rejection.ZIP_EMPTY)

    def _unpack_entry(self, name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Received:
        try:
            _refuse_hostile(entry, self._settings)
            with archive.open(entry) as file:
                return Received(name, image=accept(_refuse_nested(read_chunks(file)), self._store, self._settings))
        except ImageRejected as rejection:
            return Received(name, rejection=rejection)
        except _UNPACK_ERRORS as error:
            _raise_if_of_disk(error)
            return _damaged(name)


def _head(stream: Iterator[bytes]) -> bytes:
    """Read chunks until the signature is complete; chunk boundaries are arbitrary."""
    head = b""
    while len(head) < _SIGNATURE_BYTES and (chunk := next(stream, b"")):
        head += chunk
    return head


def _rejoin(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class _DirectoryTooLarge(Exception):
    """Say that zipfile tried to read more at once than a directory may have."""


class _BoundedFile:
    """A ZIP file with a limit on the size of each read, and so of its directory.

    zipfile reads as much at once as one of three records says, and which one depends on its version: so its reads are
    limited, not the records' values.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, max(most, _LEAST_READ)
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Read; raise _DirectoryTooLarge for more than the limit."""
        if size > self._most:
            raise _DirectoryTooLarge
        return self._file.read(size)


def _begins_unlisted(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> bool:
    """Tell whether an archive begins with an entry missing from its directory, the last one in the file."""
    if not archive.fp or any(entry.header_offset <= 0 for entry in entries):
        return False
    archive.fp.seek(0)
    return archive.fp.read(_SIGNATURE_BYTES) == _LOCAL_HEADER


def _is_image_after_all(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, overlapping: set[int]) -> bool:
    """Tell by its first bytes whether an entry named like part of a disc's viewer is an image after all."""
    is_closed = id(entry) in overlapping or entry.flag_bits & _ENCRYPTED_FLAG or unread_method(entry)
    if is_closed or PurePosixPath(entry.filename).name.lower() == DICOMDIR:
        return False
    try:
        with archive.open(entry) as file:
            return is_image(file.read(HEAD_BYTES))
    except _UNPACK_ERRORS as error:
        _raise_if_of_disk(error)
        return False


def _raise_if_of_disk(error: Exception) -> None:
    """Re-raise an OSError that comes from a system call.

    bz2 raises OSError for damaged data, and zipfile seeks to a negative offset for an entry that claims one.
    """
    if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
        raise error


def _overlapping(entries: Sequence[zipfile.ZipInfo], end: int) -> set[int]:
    """Return the ids of entries that overlap the next one or the directory, which begins at `end`.

    A ZIP of 1 MB that refers to the same bytes 20,000 times unpacks to 16 GB, and no entry's ratio reveals it (Fifield,
    WOOT 2019). zipfile itself refuses these from 3.11.8 and 3.12.2 on; of entries at the same offset it accepts the
    last, and so does this.
    """
    found = set()
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        if entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size > end:
            found.add(id(entry))
        end = entry.header_offset
    return found


def _entry_name(file_name: str, entry: str) -> str:
    """Name an entry `archive.zip/path/in/zip.png`, to distinguish images of two ZIPs.

    A name that is too long keeps its end, which is the entry's.
    """
    return display_name(f"{file_name}/{entry}")


def _damaged(name: str) -> Received:
    return reject(name, Rejection.ZIP_ENTRY_DAMAGED)


def _is_folder(name: str) -> bool:
    # ZipInfo.is_dir of Python 3.11 and 3.12 raises IndexError where the name is empty.
    return name.endswith("/")


def _refuse_hostile(entry: zipfile.ZipInfo, settings: Settings) -> None:
    """Refuse a hostile entry by its header alone."""
    if _is_unsafe(entry):
        raise ImageRejected(Rejection.ZIP_ENTRY_UNSAFE_NAME)
    if entry.flag_bits & _ENCRYPTED_FLAG:
        raise ImageRejected(Rejection.ZIP_ENTRY_ENCRYPTED)
    if method := unread_method(entry):
        raise ImageRejected(Rejection.ZIP_ENTRY_UNSUPPORTED, method=method)
    if entry.file_size > settings.max_image_bytes:
        raise ImageRejected(Rejection.TOO_LARGE, case="file", limit_mib=settings.max_image_bytes // MIB)
    ratio = entry.file_size / max(entry.compress_size, 1)
    if entry.file_size > _BOMB_FLOOR and ratio > settings.max_zip_ratio:
        raise ImageRejected(Rejection.ZIP_ENTRY_BOMB, ratio=round(ratio), most=settings.max_zip_ratio)


def _is_unsafe(entry: zipfile.ZipInfo) -> bool:
    # orig_filename is the name in the archive; zipfile cleans `filename` of NUL and backslashes.
    name = entry.orig_filename.replace("\\", "/")
    path = PurePosixPath(name)
    has_drive = re.match(r"[A-Za-z]:", name) is not None
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return is_link or has_drive or path.is_absolute() or ".." in path.parts or "\0" in name


def _refuse_nested(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = _head(chunks)
    if first.startswith(ZIP_SIGNATURES):
        raise ImageRejected(Rejection.ZIP_ENTRY_NESTED)
    yield from _rejoin(first, chunks)
