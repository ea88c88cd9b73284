"""Compare several models on the same images: their figures, and whether differences may be due to chance."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import binomtest  # type: ignore[import-untyped]  # SciPy ships no types

from evaluation.metrics import intervals, measure, rounded

FIGURES: Final = ("accuracy", "recall", "specificity", "auc", "ece")


class Answered(NamedTuple):
    """One model's answers for all images."""

    p_pneumonia: np.ndarray
    """Calibrated, float64 (images,), 0 to 1."""
    threshold: float


def compare_models(
    truth: np.ndarray, answered: Mapping[str, Answered], default: str | None, groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return each model's FIGURES, their 95 % intervals and its McNemar test against `default`, by name.

    `truth` is bool (images,), True for pneumonia. Intervals are bootstrapped by `groups` with one seed, so that every
    model is measured on the same resamples. The test is None for the default itself and where the default is absent.
    """
    right = {name: (found.p_pneumonia >= found.threshold) == truth for name, found in answered.items()}
    return {
        name: {
            "threshold": found.threshold,
            **_chosen(measure(truth, *found)),
            "intervals_95": _chosen(intervals(truth, *found, groups=groups)),
            "mcnemar": mcnemar(right[default], right[name]) if default in right and default != name else None,
        }
        for name, found in answered.items()
    }


def _chosen(figures: dict[str, Any]) -> dict[str, Any]:
    return rounded({name: figures[name] for name in FIGURES})


def mcnemar(default_right: np.ndarray, other_right: np.ndarray) -> dict[str, float]:
    """Return the exact McNemar test of two models on the same images, bool (images,) each: right or wrong.

    `b` counts images that only the default gets right, `c` those that only the other does; `p` is the two-sided
    probability of a split at least as uneven if both were equally good (McNemar 1947, exact binomial form).
    """
    b = int((default_right & ~other_right).sum())
    c = int((other_right & ~default_right).sum())
    p = float(binomtest(b, b + c).pvalue) if b + c else 1.0
    return {"b": b, "c": c, "p": p}
