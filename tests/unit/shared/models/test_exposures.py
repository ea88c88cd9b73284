"""What a model folder says of the exposure of its training images; an ensemble by its members."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.models.ensemble import ensemble
from shared.models.exposures import EXPOSURE_FILE, TrainingExposure, read_exposure
from shared.models.folder import read_spec
from tests.conftest import ROOT

MEMBERS = ("compact-cnn", "mobilenet-v2")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with an ensemble of two models that were trained on the same images."""
    for name in MEMBERS:
        shutil.copytree(ROOT / "models" / name, tmp_path / name)
    made = CliRunner().invoke(ensemble, ["both", *MEMBERS, "--models-dir", str(tmp_path)])
    assert made.exit_code == 0, made.output
    return tmp_path


def exposure_of(models: Path, name: str) -> TrainingExposure | None:
    return read_exposure(models / name, read_spec(models / name).sha256)


def test_an_ensemble_has_the_exposure_that_its_members_share(models: Path) -> None:
    own = exposure_of(models, MEMBERS[0])
    assert own is not None
    assert exposure_of(models, "both") == own
    assert read_exposure(models / "both", "0" * 64) is None


@pytest.mark.parametrize("change", ["other images", "none"])
def test_an_ensemble_of_members_that_share_none_has_none(models: Path, change: str) -> None:
    path = models / MEMBERS[1] / EXPOSURE_FILE
    said = json.loads(path.read_text())
    path.unlink()
    if change == "other images":
        path.write_text(json.dumps({**said, "images": said["images"] + 1}))
    assert exposure_of(models, MEMBERS[1]) is None or change == "other images"
    assert exposure_of(models, "both") is None
