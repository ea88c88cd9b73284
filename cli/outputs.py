"""The output files of commands."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cli.errors import CommandFailed


def check_writable(path: Path) -> None:
    """Create a file's folder and test that it is writable, so that a long computation does not fail at its end.

    Raises CommandFailed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(None, "The file is there and may not be changed")
    except OSError as error:
        raise _unwritable(path, error) from error


def write_file(path: Path, content: str) -> None:
    """Write a text file.

    Raises CommandFailed where it cannot be written, as on a full disk.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file in pieces.

    Raises CommandFailed where it cannot be written, as on a full disk.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> CommandFailed:
    return CommandFailed(f"'{path}' cannot be written: {error.strerror}. Choose another place for it.")
