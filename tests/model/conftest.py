"""Fixtures for tests of the real network, run in processes of their own: Keras takes one backend per process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.images.samples import write_samples
from tests.conftest import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / DEFAULT_MODEL
PROBE = Path(__file__).with_name("probe.py")

Probe = Callable[..., Any]


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """Run one function of probe.py under a backend and return what it found."""

    def run(name: str, backend: str, *arguments: str | Path) -> Any:
        out = tmp_path_factory.mktemp("probe") / "out.json"
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
        finished = subprocess.run(
            [sys.executable, str(PROBE), name, str(out), *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr[-4000:]
        return json.loads(out.read_text())

    return run


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Draw the synthetic images once."""
    return write_samples(tmp_path_factory.mktemp("samples"))
