"""The files that `serve` keeps in its data folder, for itself and for the other commands."""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

TOKEN_FILE: Final = "token"  # noqa: S105  # the name of a file, not a secret
"""An API token of this computer's own, for `screen`."""
URL_FILE: Final = "url"
"""The address of the server that runs on the folder."""
LOCK_FILE: Final = "lock"
"""Held by the server that runs on the folder."""
SAMPLES_FOLDER: Final = "samples"
_KEY_FILE: Final = "secret_key"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # made with mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(name).replace(path)


def secret_key(data_dir: Path) -> str:
    """Return the key that signs sessions; make it once and keep it."""
    path = data_dir / _KEY_FILE
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return path.read_text()
