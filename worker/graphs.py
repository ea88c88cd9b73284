"""OpenVINO graphs: exported from a Keras file once, then kept, because importing Keras takes most of a worker's start.

A kept graph is named by the weights that it was made from and the releases that made it, and opened only where its
bytes are those that were written. It lies in the data folder beside the database and the key that signs sessions:
whoever can write there needs no graph to do harm.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from shared.modelspec import ModelSpec

log = logging.getLogger(__name__)

GRAPH: Final = "model.xml"
DIGESTS: Final = "digests.json"
_MADE_BY: Final = ("keras", "openvino")
_EDITION: Final = 2
"""Of what `worker.openvino_classifier` makes of a file; graphs of earlier ones are made anew."""


class GraphFolder:
    """Graphs of networks, a folder each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, spec: ModelSpec, export: Callable[[Path], None]) -> Path:
        """Return the path of a model's graph; `export` writes it to the path that it is given where none is kept."""
        place = self._root / f"{spec.sha256}-{spec.input_size}-{_releases()}"
        if not _is_whole(place):
            self._keep(place, export)
        return place / GRAPH

    def _keep(self, place: Path, export: Callable[[Path], None]) -> None:
        """Export beside its place and rename, so that a process that is killed leaves no half a graph in it."""
        self._root.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=self._root, prefix="incoming-"))
        try:
            export(fresh / GRAPH)
            (fresh / DIGESTS).write_text(json.dumps(_digests(fresh)))
            shutil.rmtree(place, ignore_errors=True)
            fresh.rename(place)
        except OSError:
            # Two workers that start together both export; the one that comes second finds the other's graph there.
            if not _is_whole(place):
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _releases() -> str:
    makers = [str(_EDITION), *[version(package) for package in _MADE_BY]]
    return hashlib.sha256("\n".join(makers).encode()).hexdigest()[:12]


def _digests(place: Path) -> dict[str, str]:
    """Return the sha256 of each file of a graph."""
    files = [path for path in sorted(place.iterdir()) if path.name != DIGESTS]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _is_whole(place: Path) -> bool:
    try:
        kept = json.loads((place / DIGESTS).read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        kept = None
    if kept == _digests(place):
        return True
    log.warning("The kept graph %s is damaged and is made anew.", place.name)
    return False
