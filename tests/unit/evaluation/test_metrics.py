"""The figures, against hand-made cases and their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]  # SciPy ships no types

from evaluation import metrics
from evaluation.errors import DataUnusable
from evaluation.metrics import (
    bootstrap,
    calibration_error,
    confusion,
    fit_temperature,
    intervals,
    measure,
    reliability,
    report,
    share_interval,
    threshold_for_sensitivity,
    threshold_for_share,
)

pytestmark = pytest.mark.lab

TRUTH = np.array([False, False, False, False, True, True, True, True])
P = np.array([0.1, 0.2, 0.3, 0.7, 0.6, 0.8, 0.9, 0.4])
FIGURES = {"accuracy", "precision", "recall", "specificity", "f1", "auc", "pr_auc", "ece"}


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 200)


def test_figures_of_a_small_case_counted_by_hand() -> None:
    figures = measure(TRUTH, P, threshold=0.5)
    assert figures["accuracy"] == pytest.approx(6 / 8)
    assert figures["recall"] == pytest.approx(3 / 4)
    assert figures["specificity"] == pytest.approx(3 / 4)
    # Of the 16 pairs of a sick and a healthy image, (0.6, 0.7) and (0.4, 0.7) stand the wrong way round.
    assert figures["auc"] == pytest.approx(14 / 16)
    assert figures["precision"] == pytest.approx(3 / 4)
    assert figures["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    # From the top: precision at each pneumonia image is 1, 1, 3/4 and 4/5, each for a quarter of the recall.
    assert figures["pr_auc"] == pytest.approx((1 + 1 + 3 / 4 + 4 / 5) / 4)


def test_where_nothing_is_called_pneumonia_precision_and_f1_are_zero() -> None:
    figures = measure(TRUTH, P, threshold=0.95)
    assert (figures["precision"], figures["f1"], figures["recall"], figures["specificity"]) == (0, 0, 0, 1)


def test_confusion_of_a_small_case_counted_by_hand() -> None:
    assert confusion(TRUTH, P, 0.5) == {
        "true_negative": 3,
        "false_positive": 1,
        "false_negative": 1,
        "true_positive": 3,
    }


def test_an_image_at_the_threshold_is_called_pneumonia() -> None:
    assert confusion(np.array([True, False]), np.array([0.5, 0.5]), 0.5)["true_positive"] == 1


def test_calibration_error_is_zero_where_probabilities_come_true() -> None:
    truth = np.array([True] * 3 + [False] * 7 + [True] * 8 + [False] * 2)
    assert calibration_error(truth, np.array([0.3] * 10 + [0.8] * 10)) == pytest.approx(0.0)


def test_calibration_error_is_the_gap_where_all_are_too_sure() -> None:
    assert calibration_error(np.array([True, False]), np.array([0.99, 0.99])) == pytest.approx(0.49)


@given(st.integers(0, 1000), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_threshold_keeps_its_promise_and_calls_no_image_more(seed: int, sensitivity: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.6
    p = np.clip(rng.normal(0.4 + 0.3 * truth, 0.15), 0.01, 0.99)
    threshold = threshold_for_sensitivity(truth, p, sensitivity)
    assert (p[truth] >= threshold).mean() >= sensitivity
    last_found = p[truth & (p >= threshold)].min()
    # Rounding down may take in an image that lies within two roundings of the last one.
    assert (p[truth] > last_found + 2e-4).mean() < sensitivity


def test_the_threshold_lies_between_two_images() -> None:
    """At a sensitivity of three quarters the image at 0.6 has to be found and the one at 0.4 has not."""
    assert threshold_for_sensitivity(TRUTH, P, 0.75) == pytest.approx(0.5)


@given(st.integers(0, 1000), st.sampled_from([0.05, 0.3, 0.9]))
def test_a_threshold_for_a_share_calls_that_share_and_no_image_more(seed: int, share: float) -> None:
    p = np.random.default_rng(seed).uniform(0.01, 0.99, 200)
    threshold = threshold_for_share(p, share)
    assert (p >= threshold).mean() >= share
    last_called = p[p >= threshold].min()
    assert (p > last_called + 2e-4).mean() < share, "rounding down may take in an image within two roundings"


def test_what_no_threshold_reaches_is_refused() -> None:
    """Clipped to the lowest threshold, one would find none of the images that have to be found."""
    truth = np.arange(100) < 40
    p = np.where(truth, 2e-5, 1e-5)
    with pytest.raises(DataUnusable, match=r"needs a threshold below 2e-05, and 0\.0001 is the lowest"):
        threshold_for_sensitivity(truth, p, 0.99)
    with pytest.raises(DataUnusable, match=r"needs a threshold below 2e-05, and 0\.0001 is the lowest"):
        threshold_for_share(p, 0.4)


@pytest.mark.parametrize("probability", [1e-4, 0.00015, 0.99995, 1.0])
def test_an_image_at_the_ends_of_what_thresholds_there_are_is_found(probability: float) -> None:
    p = np.array([probability, 0.0])
    assert threshold_for_sensitivity(np.array([True, False]), p, 1.0) <= probability
    assert threshold_for_share(p, 0.5) <= probability


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 3, (20_000, 3))
    scaled = np.exp(logits / temperature)
    cumulated = (scaled / scaled.sum(axis=1, keepdims=True)).cumsum(axis=1)
    classes = (rng.random((20_000, 1)) > cumulated).sum(axis=1)
    assert fit_temperature(logits, classes) == pytest.approx(temperature, rel=0.06)


def test_reliability_counts_every_image_in_its_bin_and_explains_the_calibration_error() -> None:
    truth, p = np.array([True, False, True, True]), np.array([0.05, 0.0, 0.55, 1.0])
    bins = reliability(truth, p)
    assert [(b["from"], b["images"]) for b in bins] == [(0.0, 2), (0.5, 1), (0.9, 1)]
    gaps = sum(b["images"] * abs(b["predicted"] - b["observed"]) for b in bins) / len(p)
    assert gaps == pytest.approx(calibration_error(truth, p), abs=1e-4)


def test_a_bootstrap_draws_whole_groups_and_draws_again_what_it_may_not_use() -> None:
    groups = ["a", "b", "a", "b", "c"]
    seen: list[tuple[int, ...]] = []

    def figures(drawn: np.ndarray) -> dict[str, float] | None:
        seen.append(tuple(np.bincount(drawn, minlength=5)))
        return {"c": float(seen[-1][4])} if seen[-1][4] else None

    assert bootstrap(figures, groups)["c"][0] >= 1
    assert len(seen) > metrics.RESAMPLES
    assert all(a == a2 and b == b2 and a + b + c == 3 for a, b, a2, b2, c in seen)


def test_intervals_hold_the_figure_and_widen_where_images_hang_together() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(40), 10)
    truth = patients % 2 == 0
    p = np.clip(0.35 + 0.3 * truth + np.repeat(rng.normal(0, 0.2, 40), 10), 0.01, 0.99)
    figures = measure(truth, p, 0.5)
    by_image = intervals(truth, p, 0.5)
    by_patient = intervals(truth, p, 0.5, [str(patient) for patient in patients])
    for name, (low, high) in by_patient.items():
        assert low <= figures[name] <= high or name == "ece"
    assert np.ptp(by_patient["recall"]) > 1.5 * np.ptp(by_image["recall"])


@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("patients", [1, 9, 40])
def test_a_share_of_all_or_none_has_wilsons_interval_by_patient(is_right: bool, patients: int) -> None:
    groups = [str(n // 2) for n in range(2 * patients)]
    known = binomtest(patients if is_right else 0, patients).proportion_ci(method="wilson")
    assert share_interval(np.full(len(groups), is_right), groups) == pytest.approx(list(known))


def test_a_model_without_a_wrong_call_is_not_called_certain() -> None:
    truth = np.repeat([True, False], [30, 60])
    found = intervals(truth, np.where(truth, 0.9, 0.1), 0.5, [str(n // 3) for n in range(90)])
    for name, patients in (("recall", 10), ("specificity", 20), ("precision", 10), ("accuracy", 30)):
        assert found[name] == pytest.approx(list(binomtest(patients, patients).proportion_ci(method="wilson")))
    none_called = intervals(truth, np.where(truth, 0.2, 0.1), 0.5)
    assert none_called["recall"] == pytest.approx([0.0, binomtest(0, 30).proportion_ci(method="wilson").high])
    assert none_called["precision"] == [0.0, 0.0], "of nothing"


def test_intervals_work_with_one_image_of_a_class() -> None:
    low, high = intervals(np.array([True, True, True, False]), np.array([0.9, 0.8, 0.7, 0.1]), 0.5)["auc"]
    assert low == high == 1.0


def test_a_report_is_whole_and_the_same_each_time() -> None:
    one = report(TRUTH, P, 0.5)
    assert one == report(TRUTH, P, 0.5)
    assert one["images"] == {"NORMAL": 4, "PNEUMONIA": 4}
    assert set(one["intervals_95"]) == FIGURES
    assert set(one) >= FIGURES
