"""Graphs that are exported once and kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.models.spec import ModelSpec
from tests.conftest import ROOT
from tests.integration.conftest import wait_until
from worker.networks.graphs import DIGESTS, GRAPH, LOCK, GraphFolder


class Exports:
    """Writes a graph and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path) -> None:
        self.count += 1
        path.write_text("a graph")
        path.with_suffix(".bin").write_bytes(b"its weights")


@pytest.fixture
def export() -> Exports:
    return Exports()


def test_a_graph_is_exported_once_and_found_again(tmp_path: Path, spec: ModelSpec, export: Exports) -> None:
    first = GraphFolder(tmp_path / "graphs").get(spec, export)
    assert first.read_text() == "a graph"
    assert GraphFolder(tmp_path / "graphs").get(spec, export) == first
    assert export.count == 1


def test_other_weights_and_another_size_have_graphs_of_their_own(
    tmp_path: Path, spec: ModelSpec, export: Exports
) -> None:
    others = [spec, spec.model_copy(update={"sha256": "1" * 64}), spec.model_copy(update={"input_size": 96})]
    assert len({GraphFolder(tmp_path).get(one, export) for one in others}) == 3


@pytest.mark.parametrize("file", [GRAPH, "model.bin", DIGESTS])
@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_a_damaged_graph_is_made_anew(tmp_path: Path, spec: ModelSpec, export: Exports, file: str, harm: str) -> None:
    graph = GraphFolder(tmp_path).get(spec, export)
    if harm == "gone":
        (graph.parent / file).unlink()
    else:
        (graph.parent / file).write_bytes(b"harm")
    assert GraphFolder(tmp_path).get(spec, export).read_text() == "a graph"
    assert export.count == 2


_ANOTHER_WORKER = """
import sys, time
from pathlib import Path
from shared.models.spec import ModelSpec
from worker.networks.graphs import GraphFolder

def export(path):
    with (Path(sys.argv[1]).parent / "exports").open("a") as count:
        count.write("x")
    (path.parent / "half").write_text("half a graph")
    time.sleep(float(sys.argv[2]))
    path.write_text("a graph")

GraphFolder(Path(sys.argv[1])).get(ModelSpec.model_validate_json(sys.argv[3]), export)
"""


def another_worker(folder: Path, seconds: float, spec: ModelSpec) -> subprocess.Popen:
    command = [sys.executable, "-c", _ANOTHER_WORKER, str(folder), str(seconds), spec.model_dump_json()]
    return subprocess.Popen(command, cwd=ROOT)


def test_workers_that_start_together_export_once(tmp_path: Path, spec: ModelSpec) -> None:
    workers = [another_worker(tmp_path / "graphs", 0.5, spec) for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert (tmp_path / "exports").read_text() == "x"


def test_a_worker_killed_in_its_export_leaves_nothing_in_the_way(
    tmp_path: Path, spec: ModelSpec, export: Exports
) -> None:
    folder = tmp_path / "graphs"
    killed = another_worker(folder, 600, spec)
    wait_until(lambda: list(folder.glob("incoming-*/half")), 60, "half a graph")
    killed.kill()
    killed.wait()
    assert GraphFolder(folder).get(spec, export).read_text() == "a graph"
    assert export.count == 1
    assert list(folder.glob("incoming-*")) == []


@pytest.mark.parametrize("root", [Path("/dev/null/graphs"), Path("/proc/graphs")])
def test_a_folder_that_cannot_be_made_is_named(spec: ModelSpec, export: Exports, root: Path) -> None:
    with pytest.raises(OSError, match="graphs"):
        GraphFolder(root).get(spec, export)
    assert export.count == 0


def test_something_else_in_a_graphs_place_is_named(tmp_path: Path, spec: ModelSpec, export: Exports) -> None:
    place = GraphFolder(tmp_path).get(spec, export).parent
    GraphFolder(tmp_path).discard(spec)
    place.write_text("a file")
    with pytest.raises(OSError, match="directory"):
        GraphFolder(tmp_path).get(spec, export)


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, spec: ModelSpec) -> None:
    def fail(path: Path) -> None:
        path.write_text("half a graph")
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        GraphFolder(tmp_path).get(spec, fail)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
