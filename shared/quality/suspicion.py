"""How suspicion is distributed, and how many images a threshold would flag, from stored probabilities."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.orm import Session

from shared.quality.period import Span
from shared.quality.volume import MOST_ROWS, newest_within, of_model
from shared.reviews.blind import shown_to
from shared.tables import Screening, User

STEPS: Final = 1000
"""Suspicion is counted in steps of 0.1 of 100."""


def count_suspicion(
    session: Session,
    span: Span,
    model_name: str | None = None,
    most: int = MOST_ROWS,
    blind_for: User | None = None,
) -> Counter[int]:
    """Count the images of a stretch of time by p(pneumonia) in steps of 1/STEPS, among the newest `most`.

    What is hidden from `blind_for`, who reads blind, is left out.
    """
    newest, labelled = newest_within(session, span, most), (Screening.p_pneumonia.is_not(None), *shown_to(blind_for))
    step = cast(func.round(Screening.p_pneumonia * STEPS), Integer)
    columns: tuple[Any, ...] = (step, func.count())
    counted = of_model(select(*columns).where(*newest, *labelled), model_name).group_by(step)
    return Counter({int(place): images for place, images in session.execute(counted)})


@dataclass(frozen=True)
class Flags:
    """How many images thresholds would have flagged."""

    images: int
    flagged: dict[float, int]
    """By threshold."""


def count_flags(  # noqa: PLR0917  # one question with six answers
    session: Session,
    span: Span,
    models: Sequence[uuid.UUID],
    thresholds: Sequence[float],
    most: int = MOST_ROWS,
    blind_for: User | None = None,
) -> Flags:
    """Count what each threshold would have flagged of the answers of models, among the newest `most` screenings.

    What is hidden from `blind_for`, who reads blind, is left out.
    """
    answered = Screening.model_id.in_(models), Screening.label.is_not(None), *shown_to(blind_for)
    sums = [func.sum(case((Screening.p_pneumonia >= threshold, 1), else_=0)) for threshold in thresholds]
    counted = select(func.count(Screening.id), *sums).where(*newest_within(session, span, most), *answered)
    images, *flagged = session.execute(counted).one()
    return Flags(images, {threshold: count or 0 for threshold, count in zip(thresholds, flagged, strict=True)})
