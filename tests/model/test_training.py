"""Training works: the network learns, the pipeline feeds what serving feeds, and a stopped run goes on."""

from pathlib import Path

import pytest

from tests.model.conftest import Probe


@pytest.fixture(scope="module")
def found(probe: Probe, samples: list[Path]) -> dict[str, dict]:
    """Run the network and the pipeline once."""
    return probe("learning_and_feeding", "tensorflow", *samples)


def test_a_few_steps_lower_the_loss_and_move_every_weight(found: dict[str, dict]) -> None:
    learning = found["learning"]
    assert learning["losses"][-1] < 0.6 * learning["losses"][0]
    assert learning["unmoved"] == []
    assert 1_000_000 <= learning["parameters"] <= 1_300_000


def test_training_sees_the_same_bytes_as_serving(found: dict[str, dict], samples: list[Path]) -> None:
    assert found["feeding"]["matched"], "a batch holds a film that prepare() does not give"
    assert found["feeding"]["distinct"] == len(samples)


def test_changes_to_films_follow_from_the_step_alone(found: dict[str, dict]) -> None:
    feeding = found["feeding"]
    assert feeding["same_step_same_bytes"]
    assert feeding["other_step_other_bytes"]
    assert (feeding["changed_dtype"], feeding["changed_shape"]) == ("uint8", [4, 192, 192, 1])
    assert feeding["mean_change"] > 5


def test_a_stopped_training_resumes_to_the_same_model(probe: Probe, samples: list[Path], tmp_path: Path) -> None:
    runs = probe("small_training", "tensorflow", tmp_path, *samples)
    assert runs["stopped"]
    assert "epochs" in runs["refusal"]
    assert runs["untouched_while_stopped"]
    assert runs["files"] == ["card.md", "metrics.json", "model.keras", "spec.json"]
    whole, resumed = runs["journals"]
    assert [line["epoch"] for line in whole] == [line["epoch"] for line in resumed] == [1, 2]
    assert [line["loss"] for line in resumed] == pytest.approx([line["loss"] for line in whole], rel=1e-3)
    # Threads add in varying order, which two epochs magnify; a lost optimizer state differs by 0.01 and more.
    assert runs["largest_difference"] < 1e-3
    assert runs["largest_difference_after_the_end"] < 1e-3
