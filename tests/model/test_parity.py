"""The forms of the model that ships agree on real images, and so do an image's original and its small copy."""

from pathlib import Path

import pytest

from benchmarks.parity import Agreement, compare_forms
from tests.model.conftest import MODEL

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def forms(data_folder: Path) -> dict[str, Agreement]:
    return compare_forms(MODEL)


def test_openvino_in_float32_is_tensorflow_in_float32(forms: dict[str, Agreement]) -> None:
    found = forms["openvino f32"]
    assert (found.images, found.same_label) == (300, 1.0)
    assert found.largest < 0.001


def test_what_serves_gives_the_labels_of_tensorflow(forms: dict[str, Agreement]) -> None:
    """In bfloat16, 8 bits of mantissa, where the CPU has it: measured, one label of 300 and five images by over 0.1.

    Nearly all of that comes of the first four convolutions (docs/decisions.md, Training).
    """
    found = forms["openvino, as served"]
    assert found.same_label >= 0.996
    assert found.within_a_tenth >= 0.98


def test_an_image_at_its_original_size_and_its_small_copy_get_the_same_answer(forms: dict[str, Agreement]) -> None:
    found = forms["224 px against original size"]
    assert found.same_label >= 0.99
    assert found.within_a_tenth >= 0.99
    assert found.within_a_twentieth >= 0.95
