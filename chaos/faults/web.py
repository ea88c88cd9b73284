"""Faults of the pages and the API."""

from dataclasses import dataclass
from typing import Final

from chaos.scene import Scene


@dataclass(frozen=True)
class WebKilled:
    """The process that takes an upload dies of SIGKILL; the client sends again under the same key."""

    point: str
    name: str
    family: str = "web"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill the process that comes to the point."""
        scene.kill_at(self.point)


@dataclass(frozen=True)
class EveryWebKilled:
    """All of the web dies, gunicorn's first process too, wherever its requests are."""

    name: str = "all of the web killed"
    family: str = "web"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill the first process last, so that it starts no other."""
        parent = scene.stack.web()
        parent.suspend()
        for process in [*parent.children(recursive=True), parent]:
            process.kill()


FAULTS: Final = (
    WebKilled("upload", "web killed during an upload"),
    WebKilled("answer", "web killed between commit and answer"),
    EveryWebKilled(),
)
