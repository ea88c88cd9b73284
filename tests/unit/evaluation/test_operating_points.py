"""The threshold table, against counting by hand and the laws that tie its columns together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.operating_points import (
    GRID,
    MOST_THRESHOLDS,
    every_threshold,
    operating_points,
    predictive_values,
    short_thresholds,
)

TRUTH = np.array([False, False, False, False, True, True, True, True])
P = np.array([0.1, 0.2, 0.3, 0.7, 0.6, 0.8, 0.9, 0.4])


def test_a_row_counted_by_hand() -> None:
    (row,) = operating_points(TRUTH, P, [0.6], [0.5, 0.1])
    half, tenth = row.pop("at_prevalence")
    assert row == {
        "threshold": 0.6,
        "true_positive": 3,
        "false_positive": 1,
        "false_negative": 1,
        "true_negative": 3,
        "sensitivity": 0.75,
        "specificity": 0.75,
    }
    assert half == {"prevalence": 0.5, "ppv": 0.75, "npv": 0.75, "images_per_case": 1.3333}
    # Of 1,000 images with 100 cases: 75 cases and 225 others are flagged, 25 cases and 675 others are not.
    assert tenth == {"prevalence": 0.1, "ppv": 0.25, "npv": round(675 / 700, 4), "images_per_case": 4.0}


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "expected"),
    [
        (0.0, 1.0, {"ppv": None, "npv": 0.8, "images_per_case": None}),  # nothing is flagged
        (1.0, 0.0, {"ppv": 0.2, "npv": None, "images_per_case": 5.0}),  # everything is
        (0.0, 0.5, {"ppv": 0.0, "npv": round(0.4 / 0.6, 4), "images_per_case": None}),  # no case is found
        (1.0, 1.0, {"ppv": 1.0, "npv": 1.0, "images_per_case": 1.0}),
    ],
)
def test_predictive_values_at_the_ends(sensitivity: float, specificity: float, expected: dict) -> None:
    assert predictive_values(sensitivity, specificity, 0.2) == expected


@settings(deadline=None)  # a busy machine is no error
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_the_whole_table_says_what_counting_says_and_leaves_no_change_out(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.arange(images) % 3 == 0
    truth[:2] = True, False
    p = rng.integers(0, 20, images) / 20  # with ties, and with 0
    thresholds, _ = every_threshold(p, own=0.33)
    rows = operating_points(truth, p, thresholds, [float(truth.mean())])
    for row in rows:
        called = p >= row["threshold"]
        tp, fp = int((called & truth).sum()), int((called & ~truth).sum())
        assert (row["true_positive"], row["false_positive"]) == (tp, fp)
        assert row["false_negative"] + tp == truth.sum()
        assert row["true_negative"] + fp == (~truth).sum()
        # At the images' own prevalence PPV is what it is on the images.
        assert row["at_prevalence"][0]["ppv"] == (pytest.approx(tp / (tp + fp), abs=1e-4) if tp + fp else None)
    at_any = np.linspace(0, p.max(), 41)
    kinds = {(row["true_positive"], row["false_positive"]) for row in rows}
    assert {(int((p[truth] >= t).sum()), int((p[~truth] >= t).sum())) for t in at_any} <= kinds


def test_of_many_probabilities_the_table_goes_in_steps_and_keeps_the_own_threshold() -> None:
    p = np.random.default_rng(1).random(MOST_THRESHOLDS + 1)
    thresholds, said = every_threshold(p, own=0.1929)
    assert thresholds == sorted({*GRID, 0.1929})
    assert "0.01" in said
    assert "distinct" in every_threshold(p[:MOST_THRESHOLDS], own=0.1929)[1]


@pytest.mark.parametrize("own", [0.1929, 0.5, 0.00012])
def test_the_short_table_rises_and_holds_the_own_threshold_once(own: float) -> None:
    thresholds = short_thresholds(own)
    assert thresholds == sorted(set(thresholds))
    assert thresholds.count(own) == 1
