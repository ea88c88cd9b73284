"""Faults of the pages and the API."""

import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chaos.scene import Scene

_SLOW_CLIENTS: Final = 60
_SLOW_SECONDS: Final = 8


@dataclass(frozen=True)
class WebKilled:
    """The process that handles an upload is killed by SIGKILL; the client retries under the same idempotency key."""

    point: str
    name: str
    family: str = "web"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill the process that reaches the point first."""
        scene.kill_at(self.point)


@dataclass(frozen=True)
class EveryWebKilled:
    """All web processes die, gunicorn's master included, wherever their requests are."""

    name: str = "all web processes killed"
    family: str = "web"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill all processes before the master can restart any."""
        parent = scene.stack.web()
        parent.suspend()
        for process in [*parent.children(recursive=True), parent]:
            process.kill()


@dataclass(frozen=True)
class SlowClients:
    """More half-sent requests than there are threads, each progressing by one byte a second (slowloris)."""

    name: str = "slow clients hold connections for 8 s"
    family: str = "web"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Keep the connections busy; those that the web closes stay closed."""
        place = urlsplit(scene.stack.url)
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection((place.hostname, place.port or 80)))
                for _ in range(_SLOW_CLIENTS)
            ]
            for client in clients:
                client.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            for _ in range(_SLOW_SECONDS):
                time.sleep(1)
                for client in clients:
                    with suppress(ConnectionError):
                        client.sendall(b"x")


FAULTS: Final = (
    WebKilled("upload", "web killed during an upload"),
    WebKilled("answer", "web killed between commit and response"),
    EveryWebKilled(),
    SlowClients(),
)
