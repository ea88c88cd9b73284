"""Operating points of every threshold: the table of WHO's toolkit for calibrating computer-aided detection.

WHO and TDR 2021, "Determining the local calibration of computer-assisted detection (CAD) thresholds and other
parameters": for each threshold the four counts, sensitivity, specificity, predictive values and the cost per case.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

MOST_THRESHOLDS: Final = 200
"""Above this many distinct probabilities the table uses steps of 0.01."""
GRID: Final = tuple(step / 100 for step in range(1, 100))
SHORT_GRID: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""For people: fine at both ends, where screening thresholds lie."""


def every_threshold(p_pneumonia: np.ndarray, own: float) -> tuple[list[float], str]:
    """Return all thresholds of the table, ascending and with the model's `own`, and how they were chosen.

    They are the distinct values of `p_pneumonia`, float (images,): between two of them no count changes. Above
    MOST_THRESHOLDS values, they are steps of 0.01.
    """
    distinct = np.unique(p_pneumonia)
    if len(distinct) <= MOST_THRESHOLDS:
        return np.union1d(distinct, [own]).tolist(), "every distinct probability, and the model's threshold"
    return np.union1d(GRID, [own]).tolist(), "steps of 0.01, and the model's threshold"


def short_thresholds(own: float) -> list[float]:
    """Return the thresholds of SHORT_GRID with the model's `own`, ascending."""
    return sorted({*SHORT_GRID, own})


def operating_points(
    truth: np.ndarray, p_pneumonia: np.ndarray, thresholds: Sequence[float], prevalences: Sequence[float]
) -> list[dict[str, Any]]:
    """Return one row for each threshold: counts, sensitivity, specificity, and the rest at each prevalence.

    `truth` is bool (images,), `p_pneumonia` float (images,); both classes must be there. An image at the threshold is
    called pneumonia, as the model does.
    """
    sick, healthy = np.sort(p_pneumonia[truth]), np.sort(p_pneumonia[~truth])
    missed = np.searchsorted(sick, thresholds, side="left").tolist()
    cleared = np.searchsorted(healthy, thresholds, side="left").tolist()
    return [
        _row(threshold, (len(sick) - fn, len(healthy) - tn, fn, tn), prevalences)
        for threshold, fn, tn in zip(thresholds, missed, cleared, strict=True)
    ]


def _row(threshold: float, counts: tuple[int, int, int, int], prevalences: Sequence[float]) -> dict[str, Any]:
    tp, fp, fn, tn = counts
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    return {
        "threshold": threshold,
        "true_positive": tp,
        "false_positive": fp,
        "false_negative": fn,
        "true_negative": tn,
        "sensitivity": round(sensitivity, 4),
        "specificity": round(specificity, 4),
        "at_prevalence": [
            {"prevalence": prevalence, **predictive_values(sensitivity, specificity, prevalence)}
            for prevalence in prevalences
        ],
    }


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> dict[str, float | None]:
    """Return ppv, npv and images_per_case where a share `prevalence` of the images shows pneumonia (Bayes).

    All three inputs are 0 to 1, `prevalence` strictly between. `images_per_case` is how many images are flagged for
    each true case found, 1 / ppv. None where nothing is flagged (ppv, images_per_case) or all is (npv), or no case is
    found.
    """
    found, false_alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return {
        "ppv": _share(found, found + false_alarms),
        "npv": _share(cleared, cleared + missed),
        "images_per_case": _share(found + false_alarms, found),
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None
