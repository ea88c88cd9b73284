"""What a model's card says of how often it is right, for the page of one image."""

from dataclasses import dataclass
from typing import Final

from shared.models.folder import find_spec
from shared.models.metrics import read_metrics
from shared.tables import Model
from web.base.services import services


@dataclass(frozen=True)
class Card:
    """Shares of 0 to 1 as the card has them; None where it has none."""

    cause_right: float | None = None
    """Of held-out images with pneumonia, how many get the right cause."""
    flagged_ill: float | None = None
    """Of images with pneumonia, how many the threshold flags."""
    flagged_well: float | None = None
    """Of images without, likewise."""
    is_apart: bool = False
    """These two were measured on images that the making of the model never touched."""


def read_card(model: Model | None, threshold: float | None) -> Card:
    """Return the figures of the weights that answered; none of the threshold where another one was in force."""
    if model is None:
        return Card()
    folder = services().settings.models_dir / model.name
    spec = find_spec(services().settings.models_dir, model.name)
    if spec is None or spec.sha256 != model.spec.get("sha256"):
        return Card()
    metrics = read_metrics(folder)
    validation = metrics.get("validation") or {}
    if threshold is None or abs(float(validation.get("threshold", -1)) - threshold) > _ROUNDING:
        return Card(cause_right=metrics.get("cause_accuracy"))
    apart = metrics.get("measured_apart")
    figures = apart or validation
    specificity = figures.get("specificity")
    return Card(
        cause_right=metrics.get("cause_accuracy"),
        flagged_ill=figures.get("recall"),
        flagged_well=None if specificity is None else 1 - specificity,
        is_apart=bool(apart),
    )


_ROUNDING: Final = 0.0001
"""A metrics file keeps four decimals."""
