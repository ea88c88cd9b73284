"""A model file is code to its loader: what does not belong is refused before Keras sees it."""

from pathlib import Path

import pytest

from tests.model.conftest import Probe

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]  # seconds where the machine is idle


def test_a_lambda_layer_is_refused_by_its_sha256_and_by_itself_and_never_runs(probe: Probe, tmp_path: Path) -> None:
    changed, lambda_layer = probe("hostile_probe.load_lambda", "openvino", tmp_path)
    assert "is not the file that spec.json names" in changed
    assert "asks for 'Lambda'" in lambda_layer
