"""`estimate --write`: figures go into a model's folder with a card that can be made of them, or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.errors import CommandFailed
from cli.models.estimate import _write as write_estimates
from evaluation.calibrate import flag_share, write_spec
from shared.models.folder import read_spec
from shared.settings import REPOSITORY
from tests.full_disk import no_room

SOURCE = REPOSITORY / "models" / "compact-cnn"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "models" / "compact-cnn"
    shutil.copytree(SOURCE, place)
    return place


def figures_of(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("lost", ["validation", "at_threshold_0.5", "journal", "recipe"])
def test_a_model_without_a_trainings_figures_is_left_as_it_was(place: Path, lost: str) -> None:
    figures = figures_of(place)
    del figures[lost]
    (place / "metrics.json").write_text(json.dumps(figures))
    before = {path: path.read_bytes() for path in place.glob("*.*")}
    with pytest.raises(CommandFailed, match=f"does not hold the figures of a whole training .KeyError: '{lost}'."):
        write_estimates(place, figures["estimates"])
    assert {path: path.read_bytes() for path in place.glob("*.*")} == before


def test_validation_figures_stand_under_the_threshold_that_they_were_measured_at(place: Path) -> None:
    own = read_spec(place)
    write_spec(place, flag_share(own, np.linspace(0, 1, 200), 0.3, "images"))
    write_estimates(place, figures_of(place)["estimates"])
    said = (place / "card.md").read_text()
    assert f"\nThreshold {own.threshold}. {own.threshold_rule}.\nThe model was calibrated anew since, with the" in said
    assert f"with the threshold {read_spec(place).threshold}.\nIntervals: 95 %" in said
    write_spec(place, own)
    write_estimates(place, figures_of(place)["estimates"])
    assert (place / "card.md").read_text() == (SOURCE / "card.md").read_text()


def test_a_full_disk_leaves_the_figures_of_the_training(place: Path) -> None:
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    with no_room(), pytest.raises(CommandFailed, match=r"metrics\.json cannot be written: File too large"):
        write_estimates(place, figures_of(place)["estimates"])
    assert {path: path.read_bytes() for path in place.iterdir() if path.is_file()} == before
