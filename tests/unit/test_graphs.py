"""Graphs that are exported once and kept."""

from pathlib import Path

import pytest

from shared.modelspec import ModelSpec
from worker.graphs import DIGESTS, GRAPH, GraphFolder


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


def test_a_worker_that_comes_second_takes_the_others_graph(tmp_path: Path, spec: ModelSpec, export: Exports) -> None:
    folder = GraphFolder(tmp_path)

    def export_while_another_does(path: Path) -> None:
        folder.get(spec, export)
        export(path)

    assert folder.get(spec, export_while_another_does).read_text() == "a graph"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, spec: ModelSpec) -> None:
    def fail(path: Path) -> None:
        path.write_text("half a graph")
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        GraphFolder(tmp_path).get(spec, fail)
    assert list(tmp_path.iterdir()) == []
