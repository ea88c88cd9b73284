"""How images were made, and the fixed changes that mimic another X-ray room."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from evaluation.stress import CHANGES, stress_images
from training.style import across_groups, against_making, describe_making, learn_making


def draw_images(count: int, blur: float, seed: int) -> np.ndarray:
    """Draw textured images, uint8 (count, 192, 192, 1), blurred by `blur` pixels."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        rough = Image.fromarray(rng.integers(60, 196, (24, 24), dtype=np.uint8)).resize((192, 192))
        grainy = np.asarray(rough) + rng.normal(0, 20, (192, 192))
        image = Image.fromarray(grainy.clip(0, 255).astype(np.uint8))
        images.append(np.asarray(image.filter(ImageFilter.GaussianBlur(blur))))
    return np.stack(images)[..., np.newaxis]


SHARP, SOFT = draw_images(30, 0.0, seed=1), draw_images(30, 1.5, seed=2)


def test_sharpness_is_seen_and_brightness_does_not_pass_for_it() -> None:
    brighter = (SOFT * 0.8 + 40).astype(np.uint8)
    sharp, soft, bright = (describe_making(images)[:, 0].mean() for images in (SHARP, SOFT, brighter))
    assert sharp - soft > 1.0
    assert bright == pytest.approx(soft, abs=0.1)


def test_a_flat_image_has_a_description_too() -> None:
    assert np.isfinite(describe_making(np.full((1, 192, 192, 1), 7, dtype=np.uint8))).all()


def test_the_images_against_their_making_are_the_ones_that_look_like_the_other_class() -> None:
    pixels = np.concatenate([SHARP, SOFT])
    truth = np.repeat([False, True], 30)
    others = np.concatenate([SHARP[:6], SOFT[:3], SOFT[3:9], SHARP[6:9]])
    other_truth = np.repeat([False, True], 9)
    by_making = learn_making(describe_making(pixels), truth, describe_making(others))
    chosen = against_making(other_truth, by_making)
    # Three of nine normal images are soft, three of nine pneumonia images are sharp: these and no others.
    assert np.flatnonzero(chosen).tolist() == [6, 7, 8, 15, 16, 17]


def test_what_is_learned_of_an_image_comes_from_other_groups_only() -> None:
    """One image alone is sharp among the sick: its own group must not have taught that sharp may be sick."""
    making = describe_making(np.concatenate([SHARP, SOFT[:29], SHARP[:1]]))
    truth = np.repeat([False, True], 30)
    groups = [f"child{number}" for number in range(60)]
    by_others = across_groups(making, truth, groups)
    assert by_others[:30].mean() < 0.1
    assert by_others[30:59].mean() > 0.9
    assert by_others[59] < 0.5


def test_every_change_changes_images_and_keeps_their_shape() -> None:
    changed = stress_images(SOFT[:3])
    assert set(changed) == set(CHANGES)
    for name, images in changed.items():
        assert (images.shape, images.dtype) == ((3, 192, 192, 1), np.uint8), name
        assert np.abs(images.astype(int) - SOFT[:3]).mean() > 1.0, name


def test_changes_do_what_their_names_say() -> None:
    changed = stress_images(SOFT[:3])
    plain = SOFT[:3]
    assert changed["darker"].mean() < plain.mean() < changed["lighter"].mean()
    assert changed["flat"].std() < 0.6 * plain.std()
    assert not changed["wider frame"][:, :10].any()
    assert describe_making(changed["blurred"])[:, 0].mean() < describe_making(plain)[:, 0].mean()
    assert describe_making(changed["noisy"])[:, 0].mean() > describe_making(plain)[:, 0].mean()
