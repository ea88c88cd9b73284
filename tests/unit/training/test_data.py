"""Images, patients, groups and the split."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluation.dataset import ImageFile
from evaluation.errors import DataUnusable
from shared.models.spec import ImageClass
from training.data import class_indices, list_images, near_duplicates, split_by_group


def test_a_folder_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "NORMAL").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "NORMAL" / "IM-0001-0001.jpeg")
    with pytest.raises(DataUnusable, match="PNEUMONIA"):
        list_images(tmp_path)


def make_image(patient: str, image_class: ImageClass = ImageClass.NORMAL) -> ImageFile:
    return ImageFile(Path(f"{patient}.jpeg"), image_class, patient, "IM")


@pytest.mark.parametrize(
    ("classes", "places"),
    [
        ((ImageClass.NORMAL, ImageClass.BACTERIAL, ImageClass.VIRAL), [0, 1, 2]),
        ((ImageClass.VIRAL, ImageClass.NORMAL, ImageClass.BACTERIAL), [1, 2, 0]),
        ((ImageClass.NORMAL, ImageClass.PNEUMONIA), [0, 1, 1]),
    ],
)
def test_a_cause_that_a_model_does_not_tell_apart_is_pneumonia(
    classes: tuple[ImageClass, ...], places: list[int]
) -> None:
    images = [make_image(name, name) for name in (ImageClass.NORMAL, ImageClass.BACTERIAL, ImageClass.VIRAL)]
    assert class_indices(images, classes).tolist() == places


def test_near_duplicates_are_found_and_other_images_are_not() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)
    large = np.stack([np.asarray(Image.fromarray(image).resize((192, 192))) for image in images])[..., np.newaxis]
    brighter = (large[2] * 0.8 + 30).astype(np.uint8)
    grainy = (large[4] + rng.normal(0, 4, large[4].shape)).clip(0, 255).astype(np.uint8)
    assert near_duplicates(np.concatenate([large, [brighter], [grainy]])) == [(2, 6), (4, 7)]


GROUPED = st.lists(
    st.tuples(st.sampled_from(["normal", "bacterial", "viral"]), st.integers(0, 60)), min_size=1, max_size=300
)


@given(images=GROUPED, share=st.floats(0.05, 0.5), seed=st.integers(0, 99))
def test_no_group_is_on_both_sides_of_the_split(images: list[tuple[str, int]], share: float, seed: int) -> None:
    classes, groups = [name for name, _ in images], [str(number) for _, number in images]
    held = split_by_group(classes, groups, share, seed)
    inside = {group for group, out in zip(groups, held, strict=True) if out}
    outside = {group for group, out in zip(groups, held, strict=True) if not out}
    assert not inside & outside
    assert np.array_equal(held, split_by_group(classes, groups, share, seed))


def test_every_class_gives_about_its_share() -> None:
    rng = np.random.default_rng(3)
    classes = ["normal"] * 300 + ["bacterial"] * 600 + ["viral"] * 300
    groups = [f"{name}{rng.integers(0, 120)}" for name in classes]
    held = split_by_group(classes, groups, 0.1, seed=1)
    counts = Counter(name for name, out in zip(classes, held, strict=True) if out)
    assert 27 <= counts["normal"] <= 33
    assert 56 <= counts["bacterial"] <= 64
    assert 27 <= counts["viral"] <= 33
    assert not np.array_equal(held, split_by_group(classes, groups, 0.1, seed=2))
