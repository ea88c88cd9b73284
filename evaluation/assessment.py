"""All figures of a model on labelled films, from their probabilities: what the JSON holds and the report shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from evaluation.labelled import LabelledFilms
from evaluation.metrics import bootstrap, reliability, report
from evaluation.operating_points import every_threshold, operating_points
from shared.models.spec import FilmClass, ModelSpec

FIGURES: Final = (
    ("accuracy", "Accuracy", "films called as they are labelled, of all films"),
    ("precision", "Precision", "pneumonia films, of those called PNEUMONIA"),
    ("recall", "Recall (sensitivity)", "called PNEUMONIA, of the pneumonia films"),
    ("specificity", "Specificity", "called NORMAL, of the normal films"),
    ("f1", "F1", "harmonic mean of precision and recall"),
    ("auc", "AUC", "how often a pneumonia film gets a higher probability than a normal one"),
    ("pr_auc", "PR-AUC", "average precision over all thresholds"),
    ("ece", "Calibration error (ECE)", "mean gap between probability and share of pneumonia, in ten bins"),
)
"""Key, title and meaning of each figure of `measure`."""


@dataclass(frozen=True)
class Assessment:
    """A model's answers on labelled films, and the figures that follow from them."""

    spec: ModelSpec
    films: LabelledFilms
    p_pneumonia: np.ndarray
    """Calibrated, float64 (films,), 0 to 1."""
    figures: dict[str, Any]
    """As JSON holds them."""


def assess(
    spec: ModelSpec,
    films: LabelledFilms,
    p_pneumonia: np.ndarray,
    *,
    folder: str,
    backend: str,
    prevalences: Sequence[float] = (),
) -> Assessment:
    """Measure calibrated answers, float (films,), against the films' labels; intervals are drawn by patient.

    `folder` and `backend` say where the films are and what computed the answers. `prevalences`, each strictly between
    0 and 1, are what the predictive values are stated at; none means that of the films.
    """
    truth, called = films.truth, p_pneumonia >= spec.threshold
    thresholds, steps = every_threshold(p_pneumonia, spec.threshold)
    stated = list(prevalences) or [round(float(truth.mean()), 4)]
    figures = {
        "model": spec.version,
        "backend": backend,
        "folder": folder,
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "threshold_rule": spec.threshold_rule,
        **report(truth, p_pneumonia, spec.threshold, films.groups),
        "intervals_by": interval_unit(films),
        "by_cause": measure_causes(films, called),
        "reliability": reliability(truth, p_pneumonia),
        "operating_points": {
            "thresholds": steps,
            "prevalence_is_of_these_films": not prevalences,
            "prevalences": stated,
            "rows": operating_points(truth, p_pneumonia, thresholds, stated),
        },
        "unreadable": films.unreadable,
    }
    return Assessment(spec, films, p_pneumonia, figures)


def interval_unit(films: LabelledFilms) -> str:
    """Say what the bootstrap draws: patients where the file names tell them, else films."""
    if films.named == len(films.names):
        return "patient"
    return "patient where the file name tells it, else film" if films.named else "film"


def measure_causes(films: LabelledFilms, called: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return films, recall and its 95 % interval of each cause that file names tell; `called` is bool (films,)."""
    causes = np.array([str(cause or "") for cause in films.causes])
    return {
        str(cause): _recall(called[causes == cause], [films.groups[i] for i in np.flatnonzero(causes == cause)])
        for cause in (FilmClass.BACTERIAL, FilmClass.VIRAL)
        if (causes == cause).any()
    }


def _recall(called: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
    bounds = bootstrap(lambda drawn: {"recall": float(called[drawn].mean())}, groups)["recall"]
    return {
        "films": len(called),
        "recall": round(float(called.mean()), 4),
        "interval_95": [round(bound, 4) for bound in bounds],
    }
