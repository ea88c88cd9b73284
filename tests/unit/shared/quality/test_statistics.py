"""The arithmetic of quality figures against published values and against SciPy and scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import kolmogorov
from scipy.stats import binomtest, ks_2samp
from sklearn.metrics import cohen_kappa_score

from evaluation import metrics, operating_points
from shared.quality.statistics import (
    Kappa,
    Share,
    calibration_error,
    cohens_kappa,
    compare_counts,
    predictive_values,
    quantile,
    reliability,
)

QUICK = settings(max_examples=30)
SHARES = st.integers(1, 500).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))
TABLES = st.tuples(*[st.integers(0, 60)] * 4)


@QUICK
@given(SHARES)
def test_the_interval_of_a_share_is_wilsons(counts: tuple[int, int]) -> None:
    part, whole = counts
    expected = binomtest(part, whole).proportion_ci(method="wilson")
    assert Share(part, whole).interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_nothing_any_share_is_possible() -> None:
    assert (Share(0, 0).value, Share(0, 0).interval) == (None, (0.0, 1.0))


@QUICK
@given(TABLES.filter(lambda t: sum(t) > 0))
def test_kappa_is_that_of_scikit_learn(counts: tuple[int, int, int, int]) -> None:
    a, b, c, d = counts
    found = cohens_kappa([[a, b], [c, d]])
    if found is None:
        assert a + b + c + d in {a + b, c + d, a + c, b + d}, "one of them said the same of everything"
        return
    reader = [0] * (a + b) + [1] * (c + d)
    model = [0] * a + [1] * b + [0] * c + [1] * d
    assert found.value == pytest.approx(cohen_kappa_score(reader, model))
    if b + c == 0 or (a + d == 0 and b == c):
        assert found.interval is None, "the counts have no variance"
    else:
        assert found.interval is not None
        assert found.interval[0] <= found.value <= found.interval[1]


def test_kappa_of_who_always_differ_is_not_called_certain() -> None:
    assert cohens_kappa([[0, 5], [5, 0]]) == Kappa(-1.0, None)
    assert cohens_kappa([[0, 5], [3, 0]]) is not None


def test_the_interval_of_kappa_by_hand() -> None:
    # Fleiss, Cohen and Everitt 1969, formula 13, with a pocket calculator: variance 0.2016 / 12.5 = 0.016128.
    found = cohens_kappa([[20, 5], [10, 15]])
    assert found is not None
    assert found.interval is not None
    assert (found.value, *found.interval) == pytest.approx((0.4, 0.1511, 0.6489), abs=1e-4)


def test_kappa_of_three_classes() -> None:
    # The example of Fleiss, Cohen and Everitt 1969: 200 cases, kappa 0.429, standard error 0.054 (its variance .00288).
    found = cohens_kappa([[53, 5, 2], [11, 14, 5], [1, 6, 3]])
    assert found is not None
    assert found.value == pytest.approx(0.429, abs=5e-4)


SAMPLES = st.lists(st.integers(0, 30), min_size=2)


@QUICK
@given(SAMPLES, SAMPLES)
def test_the_gap_of_two_samples_is_that_of_scipy(first: list[int], second: list[int]) -> None:
    found = compare_counts(Counter(first), Counter(second))
    assert found is not None
    assert found.distance == pytest.approx(ks_2samp(first, second, method="asymp").statistic, abs=1e-12)
    scaled = found.distance * np.sqrt(len(first) * len(second) / (len(first) + len(second)))
    assert found.p_value == pytest.approx(kolmogorov(scaled), abs=1e-9)


def test_with_an_empty_sample_nothing_is_compared() -> None:
    assert compare_counts({}, {1: 5}) is None
    assert compare_counts({1: 0}, {1: 5}) is None


@QUICK
@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = quantile(Counter(values), share)
    assert found is not None
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_of_nothing_there_is_no_quantile_and_no_calibration_error() -> None:
    assert (quantile({}, 0.5), calibration_error([])) == (None, None)


PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


@QUICK
@given(PAIRS)
def test_calibration_is_that_of_evaluate(pairs: list[tuple[float, bool]]) -> None:
    p, truth = np.array([p for p, _ in pairs]), np.array([ill for _, ill in pairs])
    bins = reliability(pairs)
    assert calibration_error(bins) == pytest.approx(metrics.calibration_error(truth, p), abs=1e-9)
    assert [(one.low, one.high, one.observed.whole) for one in bins] == [
        (row["from"], row["to"], row["images"]) for row in metrics.reliability(truth, p)
    ]
    assert [(one.predicted, one.observed.value) for one in bins] == [
        (pytest.approx(row["predicted"], abs=1e-4), pytest.approx(row["observed"], abs=1e-4))
        for row in metrics.reliability(truth, p)
    ]


@QUICK
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
def test_predictive_values_are_those_of_evaluate(sensitivity: float, specificity: float, prevalence: float) -> None:
    expected = operating_points.predictive_values(sensitivity, specificity, prevalence)
    found = predictive_values(sensitivity, specificity, prevalence)
    for value, name in zip(found, ("ppv", "npv"), strict=True):
        assert value == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-4))
