"""The files in `serve`'s data folder, for itself and for the other commands."""

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import PneumoScreenError
from shared.settings import LEAST_KEY

PRIVATE_UMASK: Final = 0o077
"""Everything created below the data folder is for its owner only: it holds password hashes, images and names."""
TOKEN_FILE: Final = "token"  # noqa: S105  # the name of a file, not a secret
"""An API token for this computer's own `screen`."""
URL_FILE: Final = "url"
"""The address of the server that runs on the folder."""
LOCK_FILE: Final = "lock"
"""Locked by the server that runs on the folder."""
SAMPLES_FOLDER: Final = "samples"
SOCKET_FILE: Final = "socket_folder"
"""The folder of its Redis socket, which is elsewhere because a socket's path must be short."""
_KEY_FILE: Final = "secret_key"
UNFINISHED: Final = ".unfinished-"
"""Prefix of a file or folder until it is complete; a start removes what a killed process left of them."""
_OTHERS: Final = 0o077
_OURS: Final = frozenset({TOKEN_FILE, URL_FILE, LOCK_FILE, SOCKET_FILE, _KEY_FILE})
_OUR_FOLDERS: Final = frozenset({"redis", "redis.damaged", "logs", "graphs", "store", SAMPLES_FOLDER})
_DATABASE: Final = "pneumoscreen.db"
_SOCKET_PREFIX: Final = "pneumoscreen-"
_LONGEST_FOLDER: Final = 75
"""With our own name, the socket's and any suffix by Redis, its path is then short enough."""
_STORE_DEPTH: Final = 2
"""In the image store only folders down to `images/ab` are closed: it holds millions of files, all created private."""


@contextmanager
def private_files() -> Iterator[None]:
    """Set the umask so that files created meanwhile are for their owner only."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically, even across a power loss."""
    handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def secret_key(data_dir: Path) -> str:
    """Return the key that signs sessions; create and store it if needed. An empty file counts as none."""
    path = data_dir / _KEY_FILE
    key = path.read_bytes().strip() if path.exists() else b""
    if not key:
        write_private(path, secrets.token_hex(32))
        return path.read_text()
    if len(key) < LEAST_KEY or not key.isascii():
        raise PneumoScreenError(
            f"The key that signs sessions, in {path}, is damaged: it has {len(key)} characters. Restore the file, or "
            "remove it; a new one is then made and everybody signs in again."
        )
    return key.decode()


def is_foreign(path: Path) -> bool:
    """Tell whether an entry of a data folder is none of those that PneumoScreen creates there."""
    name = path.name
    return name not in _OURS | _OUR_FOLDERS and not name.startswith(_DATABASE)


def open_to_others(data_dir: Path) -> Iterator[Path]:
    """Yield the data folder and PneumoScreen's files in it that other accounts have any right to.

    In a folder that also holds others' files, such as a home, only PneumoScreen's entries are closed.
    """
    entries = sorted(data_dir.iterdir())
    if not any(is_foreign(entry) and entry.is_dir() for entry in entries) and _is_open(data_dir):
        yield data_dir
    for entry in entries:
        if not is_foreign(entry):
            yield from _open_below(entry, _STORE_DEPTH if entry.name == "store" else None)


def _open_below(path: Path, depth: int | None) -> Iterator[Path]:
    if path.is_symlink():  # somebody else put its target there, with its own rights
        return
    if _is_open(path):
        yield path
    if path.is_dir() and depth != 0:
        for entry in path.iterdir():
            if depth is None or entry.is_dir():
                yield from _open_below(entry, None if depth is None else depth - 1)


def _is_open(path: Path) -> bool:
    status = path.lstat()
    # A folder with the sticky bit, such as /tmp, is everybody's on purpose (chmod(1)).
    return stat.S_IMODE(status.st_mode) & _OTHERS != 0 and not (
        stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    )


def close_to_others(data_dir: Path) -> tuple[list[Path], list[Path]]:
    """Remove all rights of other accounts to the data folder; return what was closed, and what could not be."""
    closed: list[Path] = []
    left: list[Path] = []
    for path in list(open_to_others(data_dir)):
        try:
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~_OTHERS)
        except FileNotFoundError:  # such as SQLite's log, which comes and goes
            continue
        except OSError:
            left.append(path)
        else:
            (left if _is_open(path) else closed).append(path)
    return closed, left


def make_socket_folder(data_dir: Path) -> Path:
    """Make a private folder for a socket and record it, so that the next start can remove it after a kill.

    A socket's path has at most 107 characters (unix(7)), so it is not in the data folder.
    """
    usual = tempfile.gettempdir()
    short = usual if len(usual) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108  # mkdtemp makes a private folder in it
    folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=short))  # created with mode 0700
    try:
        write_private(data_dir / SOCKET_FILE, str(folder))
    except OSError:
        folder.rmdir()
        raise
    return folder


def remove_leftovers(data_dir: Path) -> None:
    """Remove what a killed server left behind: its address, incomplete files, the folder of its socket."""
    (data_dir / URL_FILE).unlink(missing_ok=True)
    for left in data_dir.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    remembered = data_dir / SOCKET_FILE
    if remembered.exists():
        _remove_socket_folder(Path(os.fsdecode(remembered.read_bytes())))
        remembered.unlink()


def _remove_socket_folder(folder: Path) -> None:
    """Remove a folder that holds only sockets; any other folder that the record may name is left alone."""
    if not folder.name.startswith(_SOCKET_PREFIX) or folder.is_symlink() or not folder.is_dir():
        return
    if folder.stat().st_uid != os.getuid():
        return
    entries = list(folder.iterdir())
    if all(entry.is_socket() for entry in entries):
        for entry in entries:
            entry.unlink()
        folder.rmdir()


def is_served(folder: Path) -> bool:
    """Tell whether a server uses a data folder: `serve` locks the file `lock` in it while it runs."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            # A shared lock, so that two checks at once do not take each other for a server.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # There is no such file, or this account may not read it: it has no server here.
        return False
    return False
