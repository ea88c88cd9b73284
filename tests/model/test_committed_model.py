"""The model folder that ships: whole, the same on each backend, and as good as its own figures say."""

import json
from pathlib import Path

import numpy as np
import pytest

from shared.images.preprocess import prepare
from shared.models.folder import read_spec, verify_weights
from tests.model.conftest import MODEL, Probe


@pytest.fixture(scope="module")
def metrics() -> dict:
    return json.loads((MODEL / "metrics.json").read_text())


def test_the_weights_are_those_of_the_spec_and_small() -> None:
    spec = read_spec(MODEL)
    weights = verify_weights(MODEL, spec)
    assert weights.stat().st_size <= 10_000_000
    assert spec.name == MODEL.name
    assert [str(name) for name in spec.classes] == ["normal", "bacterial", "viral"]
    assert {path.name for path in (MODEL / "plots").iterdir()} >= {"training.png", "roc.png", "reliability.png"}


def test_the_figures_agree_with_each_other_and_with_the_spec(metrics: dict) -> None:
    report, spec = metrics["validation"], read_spec(MODEL)
    matrix = report["confusion"]
    sick = matrix["true_positive"] + matrix["false_negative"]
    healthy = matrix["true_negative"] + matrix["false_positive"]
    assert report["images"] == {"NORMAL": healthy, "PNEUMONIA": sick}
    assert report["recall"] == pytest.approx(matrix["true_positive"] / sick, abs=1e-4)
    assert report["specificity"] == pytest.approx(matrix["true_negative"] / healthy, abs=1e-4)
    assert report["threshold"] == spec.threshold
    both = (report["confusion"], metrics["changed"]["confusion"])
    found, missed = (sum(counts[kind] for counts in both) for kind in ("true_positive", "false_negative"))
    assert found / (found + missed) >= metrics["recipe"]["sensitivity"], "the threshold's rule"
    assert metrics["images"]["held_out"] == sick + healthy
    assert len(metrics["journal"]) == sum(phase["epochs"] for phase in metrics["recipe"]["phases"])
    for name, (low, high) in report["intervals_95"].items():
        assert low <= report[name] <= high or name == "ece"


def test_the_card_quotes_the_figures(metrics: dict) -> None:
    card, report = (MODEL / "card.md").read_text(), metrics["validation"]
    for key in ("auc", "recall", "specificity", "accuracy", "ece"):
        low, high = report["intervals_95"][key]
        assert f"{report[key]:.4f} | {low:.4f} to {high:.4f}" in card
    for name, row in metrics["stress"].items():
        assert f"| {name} | {row['auc']:.4f} | {row['recall']:.4f} | {row['specificity']:.4f} |" in card
    spec = read_spec(MODEL)
    for stated in (spec.sha256, str(spec.threshold), spec.training_data, spec.intended_population, "not a diagnosis"):
        assert stated in card


@pytest.mark.lab
def test_each_models_card_is_what_its_figures_give(probe: Probe) -> None:
    cards = probe("written_cards", "openvino", MODEL.parent)
    assert MODEL.name in cards
    for name, card in cards.items():
        assert (MODEL.parent / name / "card.md").read_text() == card, name


@pytest.mark.lab
def test_a_worker_never_holds_keras_and_a_second_start_takes_the_kept_graph(
    probe: Probe, samples: list[Path], tmp_path: Path
) -> None:
    batch, graphs = tmp_path / "images.npy", tmp_path / "graphs"
    np.save(batch, np.stack([prepare(image.read_bytes(), read_spec(MODEL)) for image in samples[:3]]))
    first = probe("serving_probe.start", "openvino", MODEL, graphs, batch)
    made = {path: path.stat().st_mtime_ns for path in graphs.rglob("*")}
    second = probe("serving_probe.start", "openvino", MODEL, graphs, batch)
    assert made
    assert {path: path.stat().st_mtime_ns for path in graphs.rglob("*")} == made
    assert [first["imported_keras"], second["imported_keras"]] == [False, False]
    assert second["logits"] == first["logits"]


@pytest.mark.lab
def test_the_held_out_images_give_the_figures_of_the_folder(probe: Probe, data_folder: Path, metrics: dict) -> None:
    found = probe("held_out", "openvino", MODEL, data_folder / "chest_xray" / "train")
    assert found["on_both_sides"] == []
    assert found["images"] == [metrics["images"]["training"], metrics["images"]["held_out"]]
    for name in ("auc", "recall", "specificity", "accuracy"):
        assert found["figures"][name] == pytest.approx(metrics["validation"][name], abs=0.008), name
