"""A worker loads its network wherever its graph can be written, and says so where it can be nowhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import REPOSITORY
from tests.conftest import GRAPHS, ROOT

pytestmark = pytest.mark.long

_LOAD = """
import logging, sys
from pathlib import Path
from worker.networks.load import load_model
logging.basicConfig(level=logging.WARNING)
print("loaded", load_model(Path(sys.argv[1]), "openvino", graphs=Path(sys.argv[2])).spec.version)
"""


def load(graphs: Path, temporary: Path) -> subprocess.CompletedProcess:
    """Load the model that ships in a process of its own, with two places for its graph."""
    return subprocess.run(
        [sys.executable, "-c", _LOAD, str(REPOSITORY / "models" / "compact-cnn"), str(graphs)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def full(tmp_path: Path):
    """A disk with room for a folder and no graph."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_takes_no_graph_costs_only_time(full: Path, tmp_path: Path) -> None:
    loaded = load(full / "graphs", tmp_path)
    assert "loaded compact-cnn@" in loaded.stdout, loaded.stderr
    assert "Graphs cannot be kept" in loaded.stderr
    assert list((full / "graphs").glob("incoming-*")) == []


def test_no_place_at_all_is_said_and_the_model_is_not_blamed(full: Path) -> None:
    refused = load(full / "graphs", full)
    assert "there is no place to write its graph (No space left on device)" in refused.stderr
    assert "Restore the model folder" not in refused.stderr


def test_a_kept_graph_that_openvino_refuses_is_made_anew(tmp_path: Path) -> None:
    """With digests that fit: as an export on a failing disk leaves it."""
    assert "loaded" in load(GRAPHS, tmp_path).stdout
    kept = tmp_path / "graphs"
    shutil.copytree(GRAPHS, kept)
    damage = f"""
import json
from pathlib import Path
from worker.networks.graphs import _digests
for place in Path({str(kept)!r}).glob("*-*"):
    (place / "model.xml").write_text("<net")
    (place / "digests.json").write_text(json.dumps(_digests(place)))
"""
    subprocess.run([sys.executable, "-c", damage], cwd=ROOT, check=True)
    loaded = load(kept, tmp_path)
    assert "loaded compact-cnn@" in loaded.stdout, loaded.stderr
    assert "cannot be used and is made anew" in loaded.stderr
