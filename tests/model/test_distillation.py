"""What a pupil learns from its teacher's places."""

from pathlib import Path

import pytest

from tests.model.conftest import Probe

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def found(probe: Probe, samples: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("distillation")
    return probe("distillation_probe.losses_and_distances", "tensorflow", folder, *samples)


def test_the_loss_over_places_is_the_softened_cross_entropy_and_least_at_the_teachers_own(found: dict) -> None:
    for loss in found["losses"]:
        assert loss["said"] == pytest.approx(loss["by_hand"], rel=1e-4)
        assert loss["own"] < min(loss["around"])


def test_a_pupil_comes_closer_to_its_teachers_places_than_one_without(found: dict) -> None:
    assert found["distances"]["taught"] < found["distances"]["untaught"]
