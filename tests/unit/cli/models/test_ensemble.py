"""`ensemble`: a folder that cannot be written is not begun."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from shared.settings import REPOSITORY
from tests.full_disk import no_room


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (models / "compact-cnn").symlink_to(REPOSITORY / "models" / "compact-cnn")
    return models


def write(models: Path) -> Result:
    return CliRunner().invoke(main, ["ensemble", "joined", "compact-cnn", "--models-dir", str(models)])


def test_an_ensemble_that_cannot_be_written_leaves_no_folder(models: Path) -> None:
    with no_room():
        failed = write(models)
    assert failed.exit_code == 2
    assert f"{models / 'joined'} cannot be written: File too large. Nothing was changed." in failed.output
    assert [path.name for path in models.iterdir()] == ["compact-cnn"]
    assert write(models).exit_code == 0, "the name is still free"
    assert [path.name for path in (models / "joined").iterdir()] == ["spec.json"]
    assert (models / "joined").stat().st_mode & 0o055 == 0o055, "others may read it"
