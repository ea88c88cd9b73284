"""A stopped training goes on as if it had not been stopped, and the journal decides by its lines alone."""

import json
from pathlib import Path

import pytest

from tests.model.conftest import Probe

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]  # fixtures train networks; minutes where the machine is shared
SAME = ("loss", "val_loss", "rate", "phase")


ENDS = {
    "not begun": ([], 3, 2, False),
    "falling": ([3.0, 2.0], 3, 2, False),
    "all its epochs": ([3.0, 2.0, 1.0], 3, None, True),
    "worse for one": ([3.0, 2.0, 2.5], 9, 2, False),
    "worse for two": ([3.0, 2.0, 2.5, 2.4], 9, 2, True),
    "level for two": ([2.0, 2.0, 2.0], 9, 2, True),
    "better again in time": ([3.0, 3.5, 2.0, 2.5], 9, 2, False),
    "no patience asked": ([1.0, 2.0, 3.0, 4.0], 9, None, False),
}
RATES = {
    "not begun": ([], 1.0),
    "falling": ([3.0, 2.0, 1.0], 1.0),
    "still for one": ([3.0, 3.0], 1.0),
    "still for two": ([3.0, 3.0, 3.0], 0.5),
    "better and still": ([3.0, 4.0, 2.0, 3.0], 1.0),
    "still for four": ([3.0, 3.0, 3.0, 3.0, 3.0], 0.25),
    "still, better, still": ([3.0, 3.0, 3.0, 2.0, 2.0, 2.0], 0.25),
}


@pytest.fixture(scope="module")
def found(probe: Probe, samples: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Train three small networks, each whole and each stopped and resumed, and ask the journal, in one process."""
    asked = {
        f"end {name}": {"losses": losses, "epochs": epochs, "patience": patience}
        for name, (losses, epochs, patience, _) in ENDS.items()
    }
    asked |= {f"rate {name}": {"losses": losses, "epochs": 9, "patience": None} for name, (losses, _) in RATES.items()}
    folder = tmp_path_factory.mktemp("runs")
    return probe("run_probe.trainings_and_decisions", "tensorflow", folder, json.dumps(asked), *samples)


@pytest.fixture(scope="module")
def runs(found: dict[str, dict]) -> dict[str, dict]:
    return found["runs"]


@pytest.mark.parametrize("name", ["averaged", "phases", "fixed"])
def test_a_stopped_training_resumes_to_the_same_journal_and_model(runs: dict[str, dict], name: str) -> None:
    run = runs[name]
    assert run["stopped"]
    whole, resumed = (figures["journal"] for figures in run["figures"])
    assert [line["epoch"] for line in whole] == [line["epoch"] for line in resumed] == list(range(1, len(whole) + 1))
    for key in SAME:
        assert [line[key] for line in resumed] == pytest.approx([line[key] for line in whole], rel=2e-3), key
    # Threads add in varying order, which a few epochs magnify; a lost optimizer state differs by 0.01 and more.
    assert run["largest_difference"] < 2e-3


def test_a_training_resumed_after_its_end_writes_the_same_model(runs: dict[str, dict]) -> None:
    assert runs["averaged"]["largest_difference_after_the_end"] < 1e-3


@pytest.mark.parametrize("name", ["averaged", "phases", "fixed"])
def test_a_run_of_other_numbers_is_refused_and_leaves_the_model_alone(runs: dict[str, dict], name: str) -> None:
    assert "batch" in runs[name]["refusals"][0]
    assert runs[name]["untouched_while_stopped"]


def test_a_run_that_holds_layers_fixed_goes_on_from_the_weights_that_it_started_from_alone(
    runs: dict[str, dict],
) -> None:
    _, refusal = runs["fixed"]["refusals"]
    assert "was started from ImageNet weights (vgg16.npz;" in refusal
    assert "Received ImageNet weights (other.npz;" in refusal


def test_layers_held_fixed_in_every_phase_are_those_of_the_file(runs: dict[str, dict]) -> None:
    assert runs["fixed"]["moved"] == ["block5_conv1", "block5_conv2", "block5_conv3"]


def test_what_is_fixed_in_a_phase_is_asked_once_of_every_image(runs: dict[str, dict]) -> None:
    """Two cuts, one for each phase; a batch that does not fill leaves images out of an epoch, and a later one in."""
    images = runs["fixed"]["figures"][0]["images"]
    assert len(runs["fixed"]["features"]) == 2
    for count in runs["fixed"]["features"].values():
        assert images["held_out"] + 8 <= count <= images["held_out"] + images["training"]


@pytest.mark.parametrize("name", ["phases", "fixed"])
def test_a_training_goes_through_its_phases_in_order(runs: dict[str, dict], name: str) -> None:
    journal = runs[name]["figures"][0]["journal"]
    assert [line["phase"] for line in journal][:3] == [1, 2, 2]


@pytest.mark.parametrize("name", ["averaged", "phases", "fixed"])
def test_a_model_folder_is_whole(runs: dict[str, dict], name: str) -> None:
    assert runs[name]["files"] == ["card.md", "exposure.json", "metrics.json", "model.keras", "plots", "spec.json"]
    origin = "ImageNet weights (vgg16.npz; VGG16's, so" if name == "fixed" else "random initialisation"
    assert origin in runs[name]["card"]


def test_the_card_of_a_smaller_training_says_what_its_recipe_asks_for(runs: dict[str, dict]) -> None:
    card = runs["phases"]["card"]
    assert "32x32" in card
    assert "where the recipe has 224" in card
    assert "where the recipe allows 25" in card


@pytest.mark.parametrize("name", ENDS)
def test_a_phase_ends_by_its_epochs_or_its_patience(found: dict[str, dict], name: str) -> None:
    assert found["decisions"][f"end {name}"][0] is ENDS[name][-1]


@pytest.mark.parametrize("name", RATES)
def test_the_rate_falls_each_time_the_loss_stands_still(found: dict[str, dict], name: str) -> None:
    assert found["decisions"][f"rate {name}"][1] == RATES[name][-1]
