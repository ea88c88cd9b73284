"""The layout of a backup: a folder with one SQLite file, the images by content, and a manifest that is written last.

The copy is SQLite whatever the database, so that a backup can be restored into either.
"""

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from cli.data_folder import private_files
from cli.errors import CommandFailed

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
STORE: Final = "store"
DATABASES: Final = "database-*"
_LOCK: Final = "lock"
_CHUNK: Final = 1024 * 1024
_MOST_MANIFEST_BYTES: Final = 64 * 1024 * 1024
"""Enough to list a million images as missing."""


class DatabaseCopy(BaseModel):
    """The copy of the database."""

    file: str = Field(pattern=r"^database-[0-9a-z]+\.db$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """The content of a backup; an image's file name is its sha256."""

    format: int = Field(ge=1)
    made_by: str = Field(pattern=r"^[\w.+ -]{1,64}$")
    schema_version: str = Field(pattern=r"^\d{4,12}$")
    created_at: AwareDatetime
    database: DatabaseCopy
    images: int = Field(ge=0)
    image_bytes: int = Field(ge=0)
    missing: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = []
    """Images named in the database that were lost or damaged in the store when the backup was made."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest atomically, which completes the backup."""
    handle, name = tempfile.mkstemp(dir=folder)  # created with mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(manifest.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Read a backup's manifest; raise CommandFailed where it is missing or this version cannot read it."""
    try:
        with open_regular(folder / MANIFEST, _MOST_MANIFEST_BYTES) as file:
            manifest = Manifest.model_validate_json(file.read())
    except OSError as error:
        raise CommandFailed(
            f"There is no whole backup in {folder}: {MANIFEST} cannot be read ({error.strerror})."
        ) from error
    except ValidationError as error:
        raise CommandFailed(f"The backup in {folder} is damaged: {MANIFEST} is not what a backup writes.") from error
    if manifest.format > FORMAT:
        raise CommandFailed(
            f"The backup in {folder} was made by {manifest.made_by}, in format {manifest.format}; this version reads "
            f"format {FORMAT}. Install that version or a later one and restore with it."
        )
    return manifest


def digest(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def open_regular(path: Path, most: int) -> BinaryIO:
    """Open a file to read; raise OSError where it is a link, a pipe, a device or larger than allowed.

    Others may have put files into a backup's folder: reading a pipe would block, a device never ends.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        file.close()
        raise OSError(errno.EINVAL, f"It is no file of at most {most:,} bytes", str(path))
    return file


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a private backup folder and lock it: two backups at once would remove each other's files."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        opened = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        # Someone may have made the folder, open to others; the hashes of passwords must not be.
        with private_files(), os.fdopen(os.open(folder / _LOCK, opened, 0o600), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise CommandFailed(
            f"Another backup into {folder} is running. Wait for it, or choose another folder."
        ) from error
    except OSError as error:
        raise CommandFailed(f"The backup cannot be written to {folder}: {error.strerror}.") from error


def _refuse_foreign(folder: Path) -> None:
    """Raise CommandFailed where a folder holds anything but a backup, finished or begun."""
    known = {MANIFEST, STORE, _LOCK}
    if any(folder.iterdir()) and not known & {path.name for path in folder.iterdir()}:
        raise CommandFailed(
            f"{folder} holds other files. Name an empty or a new folder, or one with an earlier backup."
        )
