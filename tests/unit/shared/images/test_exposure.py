"""Brightness and contrast of an image: what changes them, and what must not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.images.exposure import Exposure, measure
from shared.images.preprocess import prepare
from shared.models.spec import ModelSpec
from tests.conftest import draw, encode

SQUARES = arrays.arrays(np.uint8, st.integers(2, 40).map(lambda side: (side, side, 1)))
QUICK = settings(max_examples=50)
RISING = st.lists(st.integers(0, 255), min_size=256, max_size=256).map(lambda greys: np.array(sorted(greys), np.uint8))


@QUICK
@given(SQUARES)
def test_both_are_what_ordering_all_pixels_gives(pixels: np.ndarray) -> None:
    ordered = np.sort(pixels, axis=None)
    dark, median, bright = (int(ordered[-(-ordered.size * percent // 100) - 1]) for percent in (5, 50, 95))
    assert measure(pixels) == (median, bright - dark)


@QUICK
@given(SQUARES, st.integers(0, 255))
def test_brighter_pixels_make_an_image_brighter_and_never_darker(pixels: np.ndarray, more: int) -> None:
    brighter = np.minimum(pixels.astype(int) + more, 255).astype(np.uint8)
    assert measure(brighter).brightness == min(measure(pixels).brightness + more, 255)


@QUICK
@given(SQUARES, RISING)
def test_brightness_follows_every_rising_change_of_grey_exactly(pixels: np.ndarray, rising: np.ndarray) -> None:
    assert measure(rising[pixels]).brightness == rising[measure(pixels).brightness]


@QUICK
@given(SQUARES, st.integers(0, 100))
def test_contrast_stays_when_all_pixels_brighten_alike_and_shrinks_with_their_range(
    pixels: np.ndarray, more: int
) -> None:
    flat = pixels // 2
    assert measure(flat + np.uint8(more)).contrast == measure(flat).contrast
    assert measure(flat).contrast <= measure(pixels).contrast


@QUICK
@given(SQUARES, st.integers(0, 3))
def test_neither_depends_on_how_the_image_lies(pixels: np.ndarray, turns: int) -> None:
    assert measure(np.rot90(pixels, turns)) == measure(pixels[:, ::-1]) == measure(pixels)


@given(st.integers(0, 255))
def test_one_even_grey_is_its_own_brightness_and_has_no_contrast(grey: int) -> None:
    assert measure(np.full((64, 64, 1), grey, np.uint8)) == Exposure(grey, 0)


@QUICK
@given(st.integers(0, 1000), st.integers(2, 4))
def test_an_image_of_more_pixels_has_the_same_exposure(seed: int, times: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 1), np.uint8)
    assert measure(pixels.repeat(times, axis=0).repeat(times, axis=1)) == measure(pixels)


@pytest.mark.parametrize("size", [64, 100, 160, 224, 299])
def test_counting_some_pixels_tells_what_counting_all_does(spec: ModelSpec, size: int) -> None:
    pixels = prepare(encode(draw(1, (300, 300))), spec.model_copy(update={"input_size": size}))
    ordered = np.sort(pixels, axis=None)
    dark, median, bright = (int(ordered[len(ordered) * percent // 100]) for percent in (5, 50, 95))
    found = measure(pixels)
    assert found.brightness == pytest.approx(median, abs=3)
    assert found.contrast == pytest.approx(bright - dark, abs=6)
