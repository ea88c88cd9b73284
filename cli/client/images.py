"""The images on this machine: find the files that paths refer to, and pack them into requests."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.intake.accept import FILE_NAME_LENGTH, HEAD_BYTES, ZIP_SIGNATURES, display_name, is_image
from shared.intake.left_out import DICOMDIR, is_system_folder, why_left_out
from shared.intake.natural_order import natural_key
from shared.intake.pseudonyms import may_stand_for
from shared.settings import MIB

BATCH_BYTES: Final = 16 * MIB
BATCH_FILES: Final = 500
FIRST_BYTES: Final = MIB
FIRST_FILES: Final = 20
"""Files of the first request, so that workers can start soon; each further request takes twice as many."""


@dataclass(frozen=True)
class LocalFile:
    """One file to send."""

    path: Path
    name: str
    """The path below what the user gave, prefixed with its name; unique in a run."""
    size: int
    """In bytes."""
    is_zip: bool
    modified_ns: int

    @property
    def sent_name(self) -> str:
        """Return the name for the server, without characters that it would not show."""
        return display_name(self.name)

    def is_shown_as(self, name: str) -> bool:
        """Compare with a name from the server; a multipart header writes a quotation mark as %22 (WHATWG HTML).

        A server that uses pseudonyms returns one; which it is, only the server can tell.
        """
        return self.sent_name.replace("%22", '"') == name.replace("%22", '"') or may_stand_for(name, self.sent_name)

    def entry_of(self, shown: str) -> str:
        """Return the path inside this ZIP of an entry that the server shows as `archive.zip/path`.

        The server keeps the end of a long name, so only an end of the ZIP's name, or nothing, may come before.
        """
        # The server reads every %22 of a multipart header as a quotation mark, even one from the original name.
        front = f"{self._shown_front(shown)}/".replace("%22", '"')
        cuts = range(len(front)) if len(shown) >= FILE_NAME_LENGTH else range(1)
        cut = next((cut for cut in cuts if shown.startswith(front[cut:])), len(front))
        return shown[len(front) - cut :]

    def _shown_front(self, shown: str) -> str:
        """Return what stands for this ZIP in an entry's name: its name, or its pseudonym if the server uses those."""
        concealed = "/".join(shown.split("/")[: len([part for part in self.sent_name.split("/") if part])])
        return concealed if may_stand_for(concealed, self.sent_name) else self.sent_name


@dataclass(frozen=True)
class Unreadable:
    """A file or folder that could not be read here."""

    name: str
    reason: str


def collect(paths: Sequence[str], left_out: Counter[str] | None = None) -> list[LocalFile | Unreadable]:
    """List every file that files and folders refer to, each once, in natural order within a folder.

    Hidden files are skipped inside folders, and so are files that a disc or a file manager adds to images, which are
    counted in `left_out` by reason; not where they are named explicitly.
    """
    found: dict[str, tuple[Path, Path, str | None]] = {}
    left_out = Counter() if left_out is None else left_out
    for given in map(Path, paths):
        for path, fault in _walk(given, (), left_out):
            # Not resolved: two links to one image are two files to the user.
            found.setdefault(os.path.normpath(path.absolute()), (path, given, fault))
    names = _names([(path, given) for path, given, _ in found.values()])
    return [
        _inspect(path, name) if fault is None else Unreadable(name, fault)
        for name, (path, _, fault) in zip(names, found.values(), strict=True)
    ]


def _names(found: Sequence[tuple[Path, Path]]) -> list[str]:
    """Name files by their path below what was given; files that would share a name keep the whole path."""
    short = [_shown(_below(path, given)) for path, given in found]
    counts = Counter(short)
    return [name if counts[name] == 1 else _shown(path) for name, (path, _) in zip(short, found, strict=True)]


def _below(path: Path, given: Path) -> Path:
    """Return a path relative to `given`'s parent; one that starts in the current folder stays as it is."""
    if not given.is_absolute() and ".." not in given.parts:
        return path
    return Path(os.path.basename(os.path.abspath(given))) / path.relative_to(given)  # noqa: PTH100, PTH119  # no links


def _walk(path: Path, above: tuple[str, ...], left_out: Counter[str]) -> Iterator[tuple[Path, str | None]]:
    """List the files below a path, with the error of those that cannot be listed."""
    if not path.is_dir():
        yield path, None
        return
    real = os.path.realpath(path)
    if real in above:
        # A link to a parent folder would loop for ever; its files are found without it.
        return
    try:
        children = sorted(path.iterdir(), key=lambda child: natural_key(_shown(child)))
    except OSError as error:
        yield path, f"The folder could not be read: {error.strerror}."
        return
    for child in children:
        why = None if child.is_dir() else why_left_out(child.name)
        if why is not None and not _is_image_after_all(child):
            left_out[why] += 1
        elif not child.name.startswith(".") and not is_system_folder(child.name):
            yield from _walk(child, (*above, real), left_out)


def _is_image_after_all(path: Path) -> bool:
    """Tell by its first bytes whether a file is an image, though its name is that of a disc's viewer files."""
    if path.name.lower() == DICOMDIR or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return is_image(file.read(HEAD_BYTES))
    except OSError:
        return True  # the upload reports why it cannot be read


def _inspect(path: Path, name: str) -> LocalFile | Unreadable:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Unreadable(name, "This is not a regular file.")
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_SIGNATURES[0])).startswith(ZIP_SIGNATURES)
    except OSError as error:
        return Unreadable(name, f"The file could not be read: {error.strerror}.")
    return LocalFile(path, name, status.st_size, is_zip, status.st_mtime_ns)


def _shown(path: Path) -> str:
    """Write a path as text; bytes that are not UTF-8 become escapes, so that the name stays unique."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def pack(files: Iterable[LocalFile]) -> Iterator[list[LocalFile]]:
    """Group files into requests that grow to BATCH_FILES or BATCH_BYTES; a ZIP or a larger file is sent alone."""
    batch: list[LocalFile] = []
    size, most_files, most_bytes = 0, FIRST_FILES, FIRST_BYTES
    for file in files:
        alone = file.is_zip or file.size > BATCH_BYTES
        if batch and (alone or len(batch) == most_files or size + file.size > most_bytes):
            yield batch
            batch, size = [], 0
            most_files, most_bytes = min(2 * most_files, BATCH_FILES), min(2 * most_bytes, BATCH_BYTES)
        batch.append(file)
        size += file.size
        if alone:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
