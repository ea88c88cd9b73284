"""The figures in a model folder: each set of held-out images, and the results of thresholds on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.models.spec import ModelSpec
from shared.quality.statistics import Share
from web.languages.text import N_

VALIDATION: Final = "validation"
APART: Final = "measured apart"
SET_NAMES: Final[dict[str, str]] = {
    VALIDATION: N_("Validation"),
    APART: N_("Measured apart"),
    # Translators: held-out images of patients that were drawn at random.
    "random patients": N_("Random patients"),
    # Translators: held-out images that were cut to another frame.
    "reframed": N_("Reframed"),
    # Translators: held-out images of another hospital.
    "elsewhere": N_("Elsewhere"),
    # Translators: how much worse a model does on images that show more or less around the lungs.
    "framing gap": N_("Framing gap"),
}
"""Names of sets of images on pages; any other set in a folder has its own name."""
_ROUNDING: Final = 0.0001
"""A metrics file has four decimals."""


@dataclass(frozen=True)
class Figure:
    """One figure, 0 to 1, with its 95 % interval where the folder has one."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Called:
    """The results of one threshold on held-out images."""

    sensitivity: float
    specificity: float

    @property
    def right(self) -> float:
        """Return the sum of both, which is 1 where a threshold is no better than chance."""
        return self.sensitivity + self.specificity


@dataclass(frozen=True)
class HeldOut:
    """The measurements on one set of images."""

    name: str
    images: int
    figures: Mapping[str, Figure]
    """By the names of FIGURES."""
    thresholds: Mapping[float, Called]
    """The results of thresholds, as far as known."""


FIGURES: Final[dict[str, str]] = {
    "recall": N_("Sensitivity"),
    "specificity": N_("Specificity"),
    "auc": N_("AUC"),
    "accuracy": N_("Accuracy"),
    "ece": N_("Calibration error"),
}


def is_recalibrated(spec: ModelSpec) -> bool:
    """Tell whether a site has recalibrated the probabilities since the folder's figures were measured."""
    trained = spec.former[0] if spec.former else spec
    return (trained.temperature, trained.bias) != (spec.temperature, spec.bias)


def held_out(metrics: Mapping[str, Any], spec: ModelSpec) -> list[HeldOut]:
    """Return every set of images with figures in the folder.

    Results of thresholds do not apply to other probabilities, so after `is_recalibrated` there are none.
    """
    sets = {VALIDATION: metrics.get("validation"), **(metrics.get("estimates") or {})}
    sets[APART] = metrics.get("measured_apart")
    found = [_read(name, some, metrics, spec.threshold) for name, some in sets.items() if isinstance(some, dict)]
    return [replace(some, thresholds={}) for some in found] if is_recalibrated(spec) else found


def _read(name: str, some: Mapping[str, Any], metrics: Mapping[str, Any], threshold: float) -> HeldOut:
    intervals = some.get("intervals_95") or {}
    figures = {
        key: Figure(float(some[key]), tuple(intervals[key]) if key in intervals else None)
        for key in FIGURES
        if some.get(key) is not None
    }
    thresholds = _points(some.get("operating_points") or ())
    if name == VALIDATION:
        thresholds |= _called(0.5, metrics.get("at_threshold_0.5") or {})
    # Figures measured at a threshold that is not in force say nothing about the one that is.
    if abs(float(some.get("threshold", threshold)) - threshold) <= _ROUNDING:
        thresholds |= _called(threshold, some)
    return HeldOut(name, sum((some.get("images") or {}).values()), figures, thresholds)


def _called(threshold: float, some: Mapping[str, Any]) -> dict[float, Called]:
    if some.get("recall") is None or some.get("specificity") is None:
        return {}
    return {threshold: Called(float(some["recall"]), float(some["specificity"]))}


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[float, Called]:
    return {float(row["threshold"]): _shares(row) for row in rows}


def _shares(row: Mapping[str, Any]) -> Called:
    found = Share(row["true_positive"], row["true_positive"] + row["false_negative"])
    cleared = Share(row["true_negative"], row["true_negative"] + row["false_positive"])
    return Called(found.value or 0.0, cleared.value or 0.0)


def find_worst(sets: Sequence[HeldOut], threshold: float) -> HeldOut | None:
    """Return the set on which the model's threshold does worst, as the one to go by; None where no set has results."""
    known = [some for some in sets if threshold in some.thresholds]
    return min(known, key=lambda some: some.thresholds[threshold].right, default=None)
