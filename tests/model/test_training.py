"""Training works: the network learns, the pipeline feeds what serving feeds, and a stopped run goes on."""

from pathlib import Path

import pytest

from tests.model.conftest import Probe


def test_a_few_steps_lower_the_loss_and_move_every_weight(probe: Probe, samples: list[Path]) -> None:
    found = probe("few_steps", "tensorflow", *samples[:12])
    assert found["losses"][-1] < 0.6 * found["losses"][0]
    assert found["unmoved"] == []
    assert 1_000_000 <= found["parameters"] <= 1_300_000


def test_training_sees_the_same_bytes_as_serving(probe: Probe, samples: list[Path]) -> None:
    found = probe("untouched_batches", "tensorflow", *samples)
    assert found["matched"], "a batch holds a film that prepare() does not give"
    assert found["distinct"] == len(samples)


def test_changes_to_films_follow_from_the_step_alone(probe: Probe, samples: list[Path]) -> None:
    found = probe("untouched_batches", "tensorflow", *samples[:8])
    assert found["same_step_same_bytes"]
    assert found["other_step_other_bytes"]
    assert (found["changed_dtype"], found["changed_shape"]) == ("uint8", [4, 192, 192, 1])
    assert found["mean_change"] > 5


def test_a_stopped_training_resumes_to_the_same_model(probe: Probe, samples: list[Path], tmp_path: Path) -> None:
    found = probe("small_training", "tensorflow", tmp_path, *samples)
    assert found["stopped"]
    assert "epochs" in found["refusal"]
    assert found["untouched_while_stopped"]
    assert found["files"] == ["card.md", "metrics.json", "model.keras", "spec.json"]
    whole, resumed = found["journals"]
    assert [line["epoch"] for line in whole] == [line["epoch"] for line in resumed] == [1, 2, 3]
    assert [line["loss"] for line in resumed] == pytest.approx([line["loss"] for line in whole], rel=1e-3)
    # Threads add in varying order, which three epochs magnify; a lost optimizer state differs by 0.01 and more.
    assert found["largest_difference"] < 1e-3
    assert found["largest_difference_after_the_end"] < 1e-3
