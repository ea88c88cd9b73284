"""Two models on the same images, against NumPy and against counts made by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models.spec import Label
from shared.quality.paired import (
    Pair,
    agree_on_labels,
    correlate,
    judge_both,
    measure_by_band,
    measure_differences,
)

ILL, WELL = Label.PNEUMONIA, Label.NORMAL
P = st.floats(0, 1)


def pair(first: float, second: float, name: str = "a") -> Pair:
    return Pair(name, first, ILL if first >= 0.5 else WELL, second, ILL if second >= 0.5 else WELL)


@settings(max_examples=50)
@given(st.lists(st.tuples(P, P), min_size=3, max_size=40))
def test_differences_and_correlation_are_numpys(values: list[tuple[float, float]]) -> None:
    pairs = [pair(*both) for both in values]
    first, second = np.array(values).T
    found = measure_differences(pairs)
    assert found is not None
    apart = second - first
    assert found.mean == pytest.approx(apart.mean(), abs=1e-9)
    assert found.limits[1] - found.mean == pytest.approx(1.959964 * apart.std(ddof=1), abs=1e-6)
    assert found.interval[1] - found.mean == pytest.approx(1.959964 * apart.std(ddof=1) / len(pairs) ** 0.5, abs=1e-6)
    r = correlate(pairs)
    if min(first.std(), second.std()) > 1e-6:
        assert r == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)


def test_what_does_not_vary_has_no_correlation_and_one_image_no_spread() -> None:
    assert correlate([pair(0.5, 0.1), pair(0.5, 0.9)]) is None
    assert correlate([pair(0.1, 0.1)] * 3) is None, "though their sum is not three times 0.1"
    assert correlate([pair(0.5, 0.1)]) is None
    assert measure_differences([pair(0.5, 0.1)]) is None
    assert [some for _, _, some in measure_by_band([])] == [None] * 5


def test_images_stand_in_the_band_of_their_mean() -> None:
    bands = measure_by_band([pair(0.0, 0.1), pair(0.1, 0.2), pair(1.0, 1.0), pair(1.0, 0.9), pair(0.2, 0.3)])
    assert [(low, high, some.images if some else 0) for low, high, some in bands] == [
        (0.0, 0.2, 2), (0.2, 0.4, 0), (0.4, 0.6, 0), (0.6, 0.8, 0), (0.8, 1.0, 2),
    ]  # fmt: skip


def test_labels_and_reviews_are_counted_for_both() -> None:
    pairs = [pair(0.9, 0.9, "a"), pair(0.9, 0.1, "b"), pair(0.1, 0.9, "c"), pair(0.1, 0.1, "d"), pair(0.1, 0.2, "e")]
    labels = agree_on_labels(pairs)
    assert labels.table == ((2, 1), (1, 1))
    assert (labels.agreed.part, labels.agreed.whole) == (3, 5)
    first, second = judge_both(pairs, {"a": ILL, "b": ILL, "c": WELL, "d": WELL, "z": ILL})
    assert [(s.part, s.whole) for s in (first.sensitivity, first.specificity)] == [(2, 2), (2, 2)]
    assert [(s.part, s.whole) for s in (second.sensitivity, second.specificity)] == [(1, 2), (1, 2)]
