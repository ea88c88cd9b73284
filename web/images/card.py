"""A model card's accuracy figures, for the page of one image."""

from dataclasses import dataclass
from typing import Final

from shared.models.folder import find_spec
from shared.models.metrics import read_metrics
from shared.tables import Model
from web.base.services import services


@dataclass(frozen=True)
class Card:
    """Shares, 0 to 1, from the card; None where it has none."""

    cause_right: float | None = None
    """Share of held-out images with pneumonia that get the right cause."""
    flagged_ill: float | None = None
    """Share of images with pneumonia that the threshold flags."""
    flagged_well: float | None = None
    """The same for images without pneumonia."""
    is_apart: bool = False
    """These two were measured on images that were never used to make the model."""


def read_card(model: Model | None, threshold: float | None) -> Card:
    """Return the figures of the weights that answered; none for the threshold where another one was in force."""
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
"""A metrics file has four decimals."""
