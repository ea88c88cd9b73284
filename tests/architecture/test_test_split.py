"""Nothing is trained, fitted or chosen on a test split."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, draw, encode

pytestmark = pytest.mark.lab


@pytest.fixture
def test_split(tmp_path: Path) -> Path:
    """A folder of images named test beside one named train, as data sets are handed out."""
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "test" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "test" / label / f"{number}.jpeg").write_bytes(encode(draw(number)))
    return tmp_path / "test"


@pytest.mark.parametrize("command", [["train", "--data"], ["calibrate"]], ids=["train", "calibrate"])
def test_what_fits_refuses_a_test_split(command: list[str], test_split: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "cli.main", *command, str(test_split)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "is a test split" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_code_that_fits_names_the_official_test_split() -> None:
    named = re.compile(r"chest_xray\W+test|[\"']test[\"']")
    files = [
        *(ROOT / "evaluation").rglob("*.py"),
        *(ROOT / "training").rglob("*.py"),
        ROOT / "cli" / "models" / "train.py",
        ROOT / "cli" / "models" / "calibrate.py",
    ]
    found = {path.name for path in files if named.search(path.read_text())}
    assert found == {"dataset.py"}, "only the guard itself names it"
