"""The figures of a screening model: from labels and probabilities to a table with intervals."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from evaluation.errors import DataUnusable

RESAMPLES: Final = 1000
CALIBRATION_BINS: Final = 10
LEAST_THRESHOLD: Final = 1e-4
MOST_THRESHOLD: Final = 0.9999
_Z_SQUARED: Final = 1.959963984540054**2
"""z² of the two-sided 95 % of the normal distribution."""


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood (Guo et al. 2017, arXiv:1706.04599).

    `logits` is (images, classes), `classes` int (images,). Searched from 0.2 to 10 in steps of one per cent.
    """
    candidates = np.exp(np.arange(np.log(0.2), np.log(10.0), 0.01))
    losses = [_negative_log_likelihood(logits / temperature, classes) for temperature in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def _negative_log_likelihood(logits: np.ndarray, classes: np.ndarray) -> float:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(classes)), classes]).mean())


def threshold_for_sensitivity(truth: np.ndarray, p_pneumonia: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold, to four decimals, that reaches a sensitivity of `sensitivity`.

    `truth` is bool (images,), True for pneumonia. The threshold lies halfway between the last image that has to be
    found and the next one below, so that rounding on another processor changes neither, and is rounded down.
    Raises DataUnusable where that image lies below LEAST_THRESHOLD.
    """
    sick = np.sort(p_pneumonia[truth])
    last = sick[int(np.floor((1.0 - sensitivity) * len(sick) + 1e-9))]
    return _just_below(float(last), p_pneumonia)


def threshold_for_share(p_pneumonia: np.ndarray, share: float) -> float:
    """Return the highest threshold, to four decimals, that flags at least `share` of the images, 0 to 1.

    It lies halfway between the last flagged image and the next one below, rounded down. Raises DataUnusable where that
    image lies below LEAST_THRESHOLD.
    """
    ordered = np.sort(p_pneumonia)
    last = ordered[len(ordered) - max(1, int(np.ceil(share * len(ordered) - 1e-9)))]
    return _just_below(float(last), p_pneumonia)


def _just_below(last: float, p_pneumonia: np.ndarray) -> float:
    if last < LEAST_THRESHOLD:
        raise DataUnusable(
            f"What was asked for needs a threshold below {last:.2g}, and {LEAST_THRESHOLD:g} is the lowest there is. "
            "Ask for a smaller share of the images, or see whether the model fits them."
        )
    below = p_pneumonia[p_pneumonia < last].max(initial=0.0)
    return float(np.clip(np.floor((last + below) / 2 * 1e4) / 1e4, LEAST_THRESHOLD, MOST_THRESHOLD))


def calibration_error(truth: np.ndarray, p_pneumonia: np.ndarray) -> float:
    """Return the expected calibration error of p(pneumonia) in ten bins of equal width, 0 to 1."""
    places = _bins(p_pneumonia)
    gaps = [abs(float((truth[places == k] - p_pneumonia[places == k]).sum())) for k in range(CALIBRATION_BINS)]
    return sum(gaps) / len(truth)


def _bins(p_pneumonia: np.ndarray) -> np.ndarray:
    return np.minimum((p_pneumonia * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def reliability(truth: np.ndarray, p_pneumonia: np.ndarray) -> list[dict[str, Any]]:
    """Return the non-empty bins of `calibration_error`: bounds, images, mean probability and share of pneumonia.

    `truth` is bool (images,), `p_pneumonia` float (images,), 0 to 1.
    """
    places = _bins(p_pneumonia)
    return [
        {
            "from": k / CALIBRATION_BINS,
            "to": (k + 1) / CALIBRATION_BINS,
            "images": int((places == k).sum()),
            "predicted": round(float(p_pneumonia[places == k].mean()), 4),
            "observed": round(float(truth[places == k].mean()), 4),
        }
        for k in np.unique(places).tolist()
    ]


def measure(truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float) -> dict[str, float]:
    """Return accuracy, precision, recall, specificity, f1, auc, pr_auc and ece, each 0 to 1.

    `truth` is bool and `p_pneumonia` float, both (images,). Both classes must be there. Precision is 0 where no image
    is called pneumonia; pr_auc is the average precision (scikit-learn, without interpolation).
    """
    called = p_pneumonia >= threshold
    hits, calls = int(called[truth].sum()), int(called.sum())
    return {
        "accuracy": float((called == truth).mean()),
        "precision": hits / max(1, calls),
        "recall": float(called[truth].mean()),
        "specificity": float((~called[~truth]).mean()),
        "f1": 2 * hits / (calls + int(truth.sum())),
        "auc": float(roc_auc_score(truth, p_pneumonia)),
        "pr_auc": float(average_precision_score(truth, p_pneumonia)),
        "ece": calibration_error(truth, p_pneumonia),
    }


def bootstrap(
    figures: Callable[[np.ndarray], dict[str, float] | None], groups: Sequence[str], seed: int = 0
) -> dict[str, list[float]]:
    """Return the 95 % percentile interval of each of `figures` over RESAMPLES draws of whole groups.

    `figures` gets the drawn indices of `groups`, int (drawn,); where it returns None the draw is repeated.
    """
    rows = _rows_by_group(groups)
    rng = np.random.default_rng(seed)
    draws = [_draw(rng, rows, figures) for _ in range(RESAMPLES)]
    bounds = {name: np.percentile([draw[name] for draw in draws], [2.5, 97.5]) for name in draws[0]}
    return {name: [float(low), float(high)] for name, (low, high) in bounds.items()}


def _rows_by_group(groups: Sequence[str]) -> list[np.ndarray]:
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(places, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(places[order])) + 1)


def _draw(
    rng: np.random.Generator, rows: list[np.ndarray], figures: Callable[[np.ndarray], dict[str, float] | None]
) -> dict[str, float]:
    while True:
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])
        if (found := figures(drawn)) is not None:
            return found


def intervals(
    truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float, groups: Sequence[str] | None = None, seed: int = 0
) -> dict[str, list[float]]:
    """Return a 95 % bootstrap interval for each figure of `measure`.

    Whole `groups` are drawn where given (images of one patient are not independent), else single images. Draws of one
    class only are repeated. A share of all or none has the interval of `share_interval`.
    """
    whose = [str(i) for i in range(len(truth))] if groups is None else groups

    def figures(drawn: np.ndarray) -> dict[str, float] | None:
        both = 0 < truth[drawn].sum() < len(drawn)
        return measure(truth[drawn], p_pneumonia[drawn], threshold) if both else None

    called = p_pneumonia >= threshold
    among = {"accuracy": np.ones_like(truth), "precision": called, "recall": truth, "specificity": ~truth}
    found = bootstrap(figures, whose, seed)
    for name, chosen in among.items():
        found[name] = _all_or_none((called == truth)[chosen], np.asarray(whose)[chosen]) or found[name]
    return found


def share_interval(right: np.ndarray, groups: Sequence[str]) -> list[float]:
    """Return the 95 % interval, 0 to 1, of the share of `right`, bool (images,), over draws of whole `groups`.

    Where all or none are right every draw is the same and shows no variation: then it is Wilson's interval (1927) of as
    many answers as there are groups.
    """
    exact = _all_or_none(right, groups)
    return exact or bootstrap(lambda drawn: {"share": float(right[drawn].mean())}, groups)["share"]


def _all_or_none(right: np.ndarray, groups: Sequence[str] | np.ndarray) -> list[float] | None:
    """Return Wilson's interval where all or none are right; None otherwise, and for no images."""
    if not len(right) or 0 < right.sum() < len(right):
        return None
    width = _Z_SQUARED / (len(np.unique(groups)) + _Z_SQUARED)
    return [1 - width, 1.0] if right[0] else [0.0, width]


def confusion(truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float) -> dict[str, int]:
    """Count true and false negatives and positives."""
    tn, fp, fn, tp = confusion_matrix(truth, p_pneumonia >= threshold, labels=[False, True]).ravel()
    return {"true_negative": int(tn), "false_positive": int(fp), "false_negative": int(fn), "true_positive": int(tp)}


def report(
    truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float, groups: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the figures, their intervals, the confusion matrix, the threshold and the images of each label."""
    return {
        "images": {"NORMAL": int((~truth).sum()), "PNEUMONIA": int(truth.sum())},
        "threshold": threshold,
        **rounded(measure(truth, p_pneumonia, threshold)),
        "intervals_95": rounded(intervals(truth, p_pneumonia, threshold, groups)),
        "confusion": confusion(truth, p_pneumonia, threshold),
    }


def rounded(figures: dict[str, Any], digits: int = 4) -> dict[str, Any]:
    """Round every float in a flat dict of numbers and lists of numbers."""
    return {
        key: [round(float(number), digits) for number in value]
        if isinstance(value, list)
        else round(float(value), digits)
        for key, value in figures.items()
    }
