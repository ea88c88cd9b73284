"""Calibrations of a spec: read the one in force, replace it, or choose a threshold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shared.models.spec import Calibration, ModelSpec, Site

BY_HAND: Final = "a threshold chosen by hand"
"""Used instead of a folder's name where nothing was fitted on images."""
GIVE_PROBABILITIES: Final = ("sha256", "temperature", "bias")
"""Fields of a spec that determine probabilities."""


def calibration_of(spec: ModelSpec) -> Calibration:
    """Return the calibration in force."""
    return Calibration.model_validate({name: getattr(spec, name) for name in Calibration.model_fields})


def with_calibration(spec: ModelSpec, calibration: Calibration, former: tuple[Calibration, ...]) -> ModelSpec:
    """Return the spec with another calibration in force, and the former ones."""
    chosen = {name: getattr(calibration, name) for name in Calibration.model_fields}
    return spec.model_copy(update={**chosen, "former": former})


def labelled_site(spec: ModelSpec) -> Site | None:
    """Return the site's own labelled images that temperature and bias were fitted to, if any."""
    return spec.site if spec.site is not None and spec.site.images else None


def choose_threshold(spec: ModelSpec, threshold: float, at: datetime) -> ModelSpec:
    """Return the spec with a chosen threshold, 0 to 1; the former calibration is kept.

    The spec then has another `ModelSpec.identity`, so that images keep their label and are predicted again when they
    are sent again.
    """
    fresh = calibration_of(spec).model_copy(
        update={
            "threshold": threshold,
            "threshold_rule": "Chosen by hand",
            "site": labelled_site(spec) or Site(folder=BY_HAND, images={}, fitted_at=at),
        }
    )
    return with_calibration(spec, fresh, (*spec.former, calibration_of(spec)))


def gives_same_probabilities(spec: ModelSpec, other: dict[str, object]) -> bool:
    """Tell whether weights and calibration equal those of another spec, as stored in a row; thresholds may differ."""
    return all(getattr(spec, name) == other.get(name) for name in GIVE_PROBABILITIES)


def what_gives_probabilities(spec: Mapping[str, object]) -> tuple[object, ...]:
    """Return the weights and calibration of a spec, as a row holds it: equal for specs that differ by threshold."""
    return tuple(spec.get(name) for name in GIVE_PROBABILITIES)
