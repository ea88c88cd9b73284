"""Suspicion as it is shown: one number that never contradicts the flag beside it, and three bands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.base.suspicion import BANDS, Band, band, near, number, threshold_number

P = st.floats(0, 1)
THRESHOLD = st.floats(0.001, 0.999)


@pytest.mark.parametrize(
    ("p", "threshold", "shown", "cut"),
    [(0.036, 0.5636, "4", "56"), (0.97, 0.5636, "97", "56"), (0.5631, 0.5636, "56.3", "56.4"),
     (0.5636, 0.5636, "56", "56"), (0.561, 0.5636, "56.1", "56.4"), (0.002, 0.2, "<1", "20"),
     (0.9999, 0.2, ">99", "20"), (0.0, 0.2, "0", "20"), (1.0, 0.2, "100", "20")],
)  # fmt: skip
def test_the_number_is_whole_unless_the_threshold_is_as_near_as_that(
    p: float, threshold: float, shown: str, cut: str
) -> None:
    assert (number(p, threshold), threshold_number(p, threshold)) == (shown, cut)


@given(P, THRESHOLD)
def test_what_is_shown_lies_on_the_side_of_the_threshold_that_the_label_says(p: float, threshold: float) -> None:
    bounds = {"<1": 0.5, ">99": 99.5}
    shown, cut = (float(bounds.get(text, text)) for text in (number(p, threshold), threshold_number(p, threshold)))
    if abs(p - threshold) > 1e-8:  # six decimals tell no more apart
        assert (shown >= cut) == (p >= threshold)


@given(P, P, THRESHOLD)
def test_bands_follow_each_other_and_each_has_its_place(p: float, q: float, threshold: float) -> None:
    order = list(Band)
    low, high = sorted((p, q))
    assert order.index(band(low, threshold)) <= order.index(band(high, threshold))
    assert [band(value, threshold) for value in (0.0, threshold, 1.0)] == order
    start, end = near(threshold)
    assert 0 < start < threshold < end < 1
    assert end - start <= 0.2 + 1e-12


def test_every_band_has_words() -> None:
    assert set(BANDS) == set(Band)
