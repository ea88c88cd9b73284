"""The synthetic sample images: the same every time, of a real image's size, and no copy of any child's."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.images.preprocess import decode
from shared.images.samples import COUNT, STATISTICS, write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_samples(tmp_path_factory.mktemp("samples"))


def test_there_are_twenty_and_their_names_say_what_they_are(samples: list[Path]) -> None:
    names = [path.name for path in samples]
    assert len(names) == len(set(names)) == COUNT == 20
    assert all(re.fullmatch(r"synthetic-image-\d\d\.jpeg", name) for name in names)


def test_they_have_a_real_images_size(samples: list[Path]) -> None:
    sizes = set()
    for path in samples:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "L")
            assert 0.9e6 < image.width * image.height < 2.0e6
            sizes.add(image.size)
        assert 100_000 < path.stat().st_size < 300_000
    assert len(sizes) == COUNT


def test_a_second_drawing_gives_the_same_bytes_in_seconds(samples: list[Path], tmp_path: Path) -> None:
    started = time.perf_counter()
    again = write_samples(tmp_path / "new" / "folder")
    # Measured: 1.1 s on one core. The limit leaves room for a busy machine.
    assert time.perf_counter() - started < 10
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in samples]


def test_no_two_images_are_alike(samples: list[Path]) -> None:
    small = [np.asarray(decode(path.read_bytes(), 64).resize((48, 48)), dtype=float).ravel() for path in samples]
    alike = np.corrcoef(np.stack(small)) - np.eye(COUNT)
    assert alike.max() < 0.99


def test_a_mark_stands_in_the_corner(samples: list[Path]) -> None:
    for path in samples:
        image = decode(path.read_bytes(), 4000)
        corner = np.asarray(image.crop((0, 0, image.width // 4, image.height // 12)))
        # White letters with a black rim, whatever the image is there; the image itself has no such step anywhere near.
        assert corner.max() > 215
        assert corner.min() < 35
        assert np.abs(np.diff(corner.astype(int), axis=1)).max() > 120


def test_the_statistics_hold_too_little_to_know_an_image_by() -> None:
    assert STATISTICS.stat().st_size <= 400_000
    with np.load(STATISTICS) as arrays:
        assert set(arrays.files) == {f"{k}_{part}" for k in ("normal", "pneumonia") for part in ("mean", "components")}
        for kind in ("normal", "pneumonia"):
            assert arrays[f"{kind}_mean"].shape == (64, 64)
            assert arrays[f"{kind}_components"].shape == (20, 64, 64)
