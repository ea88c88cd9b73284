"""A site's images without labels: read once each, however many copies there are."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import DataUnusable
from evaluation.unlabelled import FEWEST_IMAGES, read_unlabelled
from shared.images.preprocess import prepare
from shared.models.spec import ModelSpec
from tests.conftest import draw, encode


@pytest.fixture(scope="module")
def drawn() -> list[bytes]:
    return [encode(draw(seed, (64, 64)), "PNG") for seed in range(FEWEST_IMAGES)]


def test_copies_of_an_image_count_once_wherever_they_lie(tmp_path: Path, drawn: list[bytes], spec: ModelSpec) -> None:
    for number, data in enumerate(drawn):
        (tmp_path / f"{number:03d}.png").write_bytes(data)
    for number in range(50):
        (tmp_path / f"000-{number}.png").write_bytes(drawn[7])
    (tmp_path / "050.txt").write_text("Seen by the night shift.")
    found = read_unlabelled(tmp_path, spec)
    assert list(found.refused) == ["050.txt"]
    every = sorted(prepare(data, spec).tobytes() for data in drawn)
    assert sorted(np.ascontiguousarray(one).tobytes() for one in found.pixels) == every


def test_a_hundred_copies_are_too_few(tmp_path: Path, drawn: list[bytes], spec: ModelSpec) -> None:
    for number in range(FEWEST_IMAGES + 50):
        (tmp_path / f"{number:03d}.png").write_bytes(drawn[number % 2])
    with pytest.raises(DataUnusable, match=r"Received: 2 in .*, copies counted once, and 0 files that get no label"):
        read_unlabelled(tmp_path, spec)
