"""Ensembles written by the command: what the members see is what the ensemble prepares."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.models.ensemble import ensemble
from shared.models.folder import read_spec
from tests.conftest import ROOT


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("framed-compact", "framed-mobilenet"):
        shutil.copytree(ROOT / "models" / name, tmp_path / name)
    return tmp_path


def write(models: Path) -> Result:
    return CliRunner().invoke(ensemble, ["both", "framed-mobilenet", "framed-compact", "--models-dir", str(models)])


def test_an_ensemble_of_models_that_frame_the_lungs_frames_them(models: Path) -> None:
    assert write(models).exit_code == 0
    both, member = read_spec(models / "both"), read_spec(models / "framed-compact")
    assert both.framing == member.framing is not None
    assert both.gate == member.gate


@pytest.mark.parametrize("changed", [{"framing": None}, {"margin": 0.4}], ids=str)
def test_members_that_frame_the_lungs_in_other_ways_are_refused(models: Path, changed: dict[str, object]) -> None:
    spec = read_spec(models / "framed-compact")
    assert spec.framing is not None
    framing = spec.framing.model_copy(update=changed) if "margin" in changed else None
    other = spec.model_copy(update={"framing": framing})
    (models / "framed-compact" / "spec.json").write_text(other.model_dump_json(indent=2))
    said = write(models)
    assert said.exit_code != 0
    assert "frames the lungs in another way" in str(said.exception)
    assert not (models / "both").exists()
