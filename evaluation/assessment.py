"""All figures of a model on labelled images, from its probabilities: the content of the JSON and of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from evaluation.labelled import LabelledImages
from evaluation.metrics import reliability, report, share_interval
from evaluation.operating_points import every_threshold, operating_points
from shared.models.spec import ImageClass, ModelSpec

FIGURES: Final = (
    ("accuracy", "Accuracy", "images called as they are labelled, of all images"),
    ("precision", "Precision", "pneumonia images, of those called PNEUMONIA"),
    ("recall", "Recall (sensitivity)", "called PNEUMONIA, of the pneumonia images"),
    ("specificity", "Specificity", "called NORMAL, of the normal images"),
    ("f1", "F1", "harmonic mean of precision and recall"),
    ("auc", "AUC", "how often a pneumonia image gets a higher probability than a normal one"),
    ("pr_auc", "PR-AUC", "average precision over all thresholds"),
    ("ece", "Calibration error (ECE)", "mean gap between probability and share of pneumonia, in ten bins"),
)
"""Key, title and meaning of each figure of `measure`."""


@dataclass(frozen=True)
class Assessment:
    """A model's answers on labelled images, and the figures derived from them."""

    spec: ModelSpec
    images: LabelledImages
    p_pneumonia: np.ndarray
    """Calibrated, float64 (images,), 0 to 1."""
    figures: dict[str, Any]
    """As in the JSON."""


def assess(
    spec: ModelSpec,
    images: LabelledImages,
    p_pneumonia: np.ndarray,
    *,
    folder: str,
    backend: str,
    prevalences: Sequence[float] = (),
) -> Assessment:
    """Measure calibrated answers, float (images,), against the images' labels; intervals are bootstrapped by patient.

    `folder` and `backend` say where the images are and what computed the answers. `prevalences`, each strictly between
    0 and 1, are those of the predictive values; none means that of the images.
    """
    truth, called = images.truth, p_pneumonia >= spec.threshold
    thresholds, steps = every_threshold(p_pneumonia, spec.threshold)
    stated = list(prevalences) or [round(float(truth.mean()), 4)]
    figures = {
        "model": spec.version,
        "backend": backend,
        "folder": folder,
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "threshold_rule": spec.threshold_rule,
        **report(truth, p_pneumonia, spec.threshold, images.groups),
        "intervals_by": interval_unit(images),
        "by_cause": measure_causes(images, called),
        "reliability": reliability(truth, p_pneumonia),
        "operating_points": {
            "thresholds": steps,
            "prevalence_is_of_these_images": not prevalences,
            "prevalences": stated,
            "rows": operating_points(truth, p_pneumonia, thresholds, stated),
        },
        "refused": images.refused,
    }
    return Assessment(spec, images, p_pneumonia, figures)


def interval_unit(images: LabelledImages) -> str:
    """Name the unit that the bootstrap resamples: patients where they are known, else images."""
    if images.named == len(images.names):
        return "patient"
    return f"patient where the {images.patient_source} tells it, else image" if images.named else "image"


def measure_causes(images: LabelledImages, called: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return images, recall and its 95 % interval for each cause named in file names; `called` is bool (images,)."""
    causes = np.array([str(cause or "") for cause in images.causes])
    return {
        str(cause): _recall(called[causes == cause], [images.groups[i] for i in np.flatnonzero(causes == cause)])
        for cause in (ImageClass.BACTERIAL, ImageClass.VIRAL)
        if (causes == cause).any()
    }


def _recall(called: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    return {
        "images": len(called),
        "recall": round(float(called.mean()), 4),
        "interval_95": [round(bound, 4) for bound in share_interval(called, groups)],
    }
