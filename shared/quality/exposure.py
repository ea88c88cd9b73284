"""Brightness and contrast of a period's X-rays, measured as the model that answered saw them."""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.quality.period import Span
from shared.quality.volume import MOST_ROWS, newest_within
from shared.tables import Model, Prediction


@dataclass
class Exposures:
    """The X-rays answered by one model's weights, counted by grey level, 0 to 255."""

    model: str
    weights: str
    """SHA-256 of the weights, as in the model's spec."""
    brightness: Counter[int] = field(default_factory=Counter)
    contrast: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    """X-rays whose answers date from before exposure was measured."""

    @property
    def images(self) -> int:
        """Return how many X-rays were measured."""
        return self.brightness.total()


def count_exposures(
    session: Session, span: Span, model_name: str | None = None, most: int = MOST_ROWS
) -> list[Exposures]:
    """Count the X-rays answered in a period, by the weights that answered, among the newest `most`.

    Each counts once, however often it was sent: the statistical test assumes independent images. Weights with the most
    X-rays come first.
    """
    known = _weights(session, model_name)
    groups: tuple[Any, ...] = (Prediction.model_id, Prediction.brightness, Prediction.contrast)
    columns: tuple[Any, ...] = (*groups, func.count())
    answered = select(*columns).where(*newest_within(session, span, most, Prediction))
    if model_name is not None:
        answered = answered.where(Prediction.model_id.in_(known))
    found: dict[tuple[str, str], Exposures] = {}
    for model_id, brightness, contrast, images in session.execute(answered.group_by(*groups)):
        one = found.setdefault(known[model_id], Exposures(*known[model_id]))
        if brightness is None or contrast is None:
            one.unknown += images
        else:
            one.brightness[brightness] += images
            one.contrast[contrast] += images
    return sorted(found.values(), key=lambda one: (one.images, one.unknown), reverse=True)


def _weights(session: Session, model_name: str | None) -> dict[uuid.UUID, tuple[str, str]]:
    """Return name and weights by id of a model row: the same weights have one for each calibration and threshold."""
    rows = select(Model.id, Model.name, Model.spec)
    named = rows if model_name is None else rows.where(Model.name == model_name)
    return {model_id: (name, spec["sha256"]) for model_id, name, spec in session.execute(named)}
