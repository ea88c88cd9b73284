"""Heat maps: what they say of a place, how they are kept, and in which colours they are shown."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from shared.models.heatmap import EVEN, LIMIT, STEPS, decode, encode, evidence
from shared.models.spec import ImageClass
from web.images.heatmaps import SCALE, colour

NORMAL, BACTERIAL, VIRAL, PNEUMONIA = ImageClass
MAPS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 16), st.integers(1, 16)),
    elements=st.floats(-1e6, 1e6, width=32),
)


@pytest.mark.parametrize(
    ("classes", "logits", "expected"),
    [
        ((NORMAL, PNEUMONIA), (1.0, 4.0), 3.0),
        ((PNEUMONIA, NORMAL), (4.0, 1.0), 3.0),
        ((NORMAL, BACTERIAL, VIRAL), (0.0, 0.0, 0.0), np.log(2)),
        ((BACTERIAL, NORMAL, VIRAL), (2.0, 5.0, -60.0), -3.0),
        ((NORMAL, BACTERIAL, VIRAL), (-900.0, 900.0, 0.0), 1800.0),
    ],
)
def test_evidence_is_the_log_odds_of_any_cause_against_normal(classes, logits, expected) -> None:
    places = np.zeros((2, 3, 4, len(classes)), np.float32)
    places[1, 2, 3] = logits
    found = evidence(places, classes)
    assert (found.shape, found.dtype) == ((2, 3, 4), np.float32)
    assert found[1, 2, 3] == pytest.approx(expected)
    assert found[0, 0, 0] == pytest.approx(np.log(len(classes) - 1), abs=1e-6)


@given(MAPS)
def test_a_kept_map_is_the_map_to_half_a_level(log_odds: np.ndarray) -> None:
    levels = np.asarray(decode(encode(log_odds)), int)
    assert levels.min() >= 1
    read = (levels - EVEN) * (LIMIT / STEPS)
    assert np.abs(read - log_odds.clip(-LIMIT, LIMIT)).max() <= LIMIT / STEPS / 2 + 1e-5


def test_a_place_that_says_nothing_is_even() -> None:
    assert np.asarray(decode(encode(np.zeros((1, 1), np.float32)))) == EVEN


def test_a_map_is_small() -> None:
    assert len(encode(np.random.default_rng(1).normal(0, 5, (12, 12)))) < 400


def test_colours_grow_lighter_and_denser_with_the_evidence_on_both_sides() -> None:
    colours = [colour(level) for level in range(256)]
    lightness = np.array([0.2126 * r + 0.7152 * g + 0.0722 * b for (r, g, b), _ in colours])
    opacity = np.array([alpha for _, alpha in colours])
    assert opacity[EVEN] == 0
    for side in (slice(EVEN + 1, None), slice(EVEN - 1, 0, -1)):
        assert (np.diff(lightness[side]) >= 0).all()
        assert (np.diff(opacity[side]) > 0).all()
    assert (colours[255], colours[1]) == ((SCALE[-1].rgb, SCALE[-1].opacity), (SCALE[0].rgb, SCALE[0].opacity))


def test_an_image_shows_through_everywhere() -> None:
    assert max(stop.opacity for stop in SCALE) <= 0.75


def test_the_scale_goes_from_left_to_right() -> None:
    assert [stop.offset for stop in SCALE] == ["0%", "25%", "50%", "50%", "75%", "100%"]


def test_a_map_survives_other_readers() -> None:
    with Image.open(io.BytesIO(encode(np.full((2, 3), LIMIT)))) as image:
        assert (image.format, image.mode, image.size, image.getextrema()) == ("PNG", "L", (3, 2), (255, 255))
