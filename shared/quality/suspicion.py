"""How suspicion is distributed, and how many images a threshold would flag, from stored probabilities."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Integer, case, cast, func, select
from sqlalchemy.orm import Session

from shared.quality.period import Span
from shared.quality.volume import MOST_ROWS, of_span
from shared.tables import Screening

STEPS: Final = 1000
"""Suspicion is counted in steps of 0.1 of 100."""


def count_suspicion(session: Session, span: Span, model_name: str | None = None, most: int = MOST_ROWS) -> Counter[int]:
    """Count the images of a stretch of time by p(pneumonia) in steps of 1/STEPS, `most` of them, the newest."""
    labelled = Screening.p_pneumonia.is_not(None)
    read = of_span(select(Screening.p_pneumonia), span, model_name).where(labelled)
    newest = read.order_by(Screening.id.desc()).limit(most).subquery()
    step = cast(func.round(newest.c.p_pneumonia * STEPS), Integer)
    return Counter({int(place): images for place, images in session.execute(select(step, func.count()).group_by(step))})


@dataclass(frozen=True)
class Flags:
    """How many images thresholds would have flagged."""

    images: int
    flagged: dict[float, int]
    """By threshold."""


def count_flags(
    session: Session, span: Span, models: Sequence[uuid.UUID], thresholds: Sequence[float], most: int = MOST_ROWS
) -> Flags:
    """Count what each threshold would have flagged of a stretch of time: `most` answers of models, the newest."""
    first, after = span.ids
    is_labelled = Screening.model_id.in_(models), Screening.label.is_not(None)
    read = select(Screening.p_pneumonia).where(Screening.id >= first, Screening.id < after, *is_labelled)
    newest = read.order_by(Screening.id.desc()).limit(most).subquery()
    sums = [func.sum(case((newest.c.p_pneumonia >= threshold, 1), else_=0)) for threshold in thresholds]
    images, *flagged = session.execute(select(func.count(), *sums).select_from(newest)).one()
    return Flags(images, {threshold: count or 0 for threshold, count in zip(thresholds, flagged, strict=True)})
