"""What a process writes about an image: nothing that stands in the header."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ROOT, draw
from tests.unit.shared.images.test_dicom import make

DECODE = """
import sys
from pathlib import Path
from shared.images.preprocess import decode
from shared.process.logs import configure_logging

configure_logging()
decode(Path(sys.argv[1]).read_bytes(), at_least=64)
"""


def test_a_header_that_cannot_be_read_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    whole = make(np.asarray(draw(5)), SpecificCharacterSet="ISO_IR 100")
    file.write_bytes(whole.replace(b"ISO_IR 100", b"Mustermann"))
    run = subprocess.run(
        [sys.executable, "-c", DECODE, file], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, "Mustermann" in run.stderr) == (0, False), run.stderr
