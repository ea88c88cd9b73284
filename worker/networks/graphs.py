"""Cache OpenVINO graphs exported from Keras files, because importing Keras takes most of a worker's start.

A cached graph is named by its weights and the library releases that made it, and opened only if its bytes are those
that were written. It lies in the data folder beside the database and the session signing key: an attacker who can write
there needs no graph to do harm.
"""

import fcntl
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final

from shared.models.spec import ModelSpec

log = logging.getLogger(__name__)

GRAPH: Final = "model.xml"
DIGESTS: Final = "digests.json"
LOCK: Final = "lock"
LOCK_SECONDS: Final = 600.0
"""An export takes seconds, on a busy machine minutes; after a longer wait a process exports its own graph."""
_LOOK_SECONDS: Final = 0.1
_INCOMING: Final = "incoming-"
_MADE_BY: Final = ("keras", "openvino")
_EDITION: Final = 2
"""Version of the graphs that `worker.networks.openvino` exports; those of earlier versions are exported again."""

Export = Callable[[Path], None]


class GraphFolder:
    """A cache of exported graphs, one folder each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, spec: ModelSpec, export: Export) -> Path:
        """Return the path of a model's graph; where none is cached, `export` writes it to the path it is given.

        Raises OSError where the folder cannot be made or written, or has no room.
        """
        place = self._place(spec)
        if not _is_whole(place):
            self._root.mkdir(parents=True, exist_ok=True)
            # One process exports at a time: each takes 300 MB, and with many cores all would start at once.
            with (self._root / LOCK).open("wb") as file:
                is_alone = _lock(file)
                if not _is_whole(place):
                    self._keep(place, export, is_alone=is_alone)
        return place / GRAPH

    def discard(self, spec: ModelSpec) -> None:
        """Remove a model's graph, so that it is exported again."""
        shutil.rmtree(self._place(spec), ignore_errors=True)

    def _place(self, spec: ModelSpec) -> Path:
        return self._root / f"{spec.sha256}-{spec.input_size}-{_releases()}"

    def _keep(self, place: Path, export: Export, *, is_alone: bool) -> None:
        """Export to a temporary path and rename, so that a killed process leaves no partial graph."""
        if is_alone:
            for left in self._root.glob(f"{_INCOMING}*"):  # by a killed export: the lock excludes others
                shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(dir=self._root, prefix=_INCOMING))
        try:
            export(fresh / GRAPH)
            (fresh / DIGESTS).write_text(json.dumps(_digests(fresh)))
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
        except OSError:
            # Without file locks two processes may export at once; the second finds the first one's graph in place.
            if not _is_whole(place):
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _lock(file: BinaryIO) -> bool:
    """Wait for a folder's lock, which is released when its holder ends; tell whether it was acquired."""
    until = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < until:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK_SECONDS)
        except OSError:  # some network shares do not support locks
            return False
        else:
            return True
    return False


def _releases() -> str:
    makers = [str(_EDITION), *[version(package) for package in _MADE_BY]]
    return hashlib.sha256("\n".join(makers).encode()).hexdigest()[:12]


def _digests(place: Path) -> dict[str, str]:
    """Return the sha256 of each file of a graph."""
    files = [path for path in sorted(place.iterdir()) if path.name != DIGESTS]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _is_whole(place: Path) -> bool:
    if not place.is_dir():
        return False
    try:
        if json.loads((place / DIGESTS).read_text()) == _digests(place):
            return True
    except (OSError, ValueError) as error:
        log.warning("The kept graph %s cannot be read: %s.", place.name, error)
    log.warning("The kept graph %s is damaged and is made anew.", place.name)
    return False
