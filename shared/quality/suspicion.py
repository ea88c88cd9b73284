"""The distribution of suspicion, and how many images a threshold would flag, from stored probabilities."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Integer, and_, case, cast, func, select
from sqlalchemy.orm import Session

from shared.models.calibrations import what_gives_probabilities
from shared.quality.period import Span
from shared.quality.volume import MOST_ROWS, newest_within, of_model
from shared.reviews.blind import shown_to
from shared.tables import Model, Screening, User

STEPS: Final = 1000
"""Suspicion is counted in steps of 0.1 of 100."""


def find_answering(
    session: Session,
    span: Span,
    model_name: str | None = None,
    most: int = MOST_ROWS,
    *,
    blind_for: User | None,
) -> tuple[list[uuid.UUID], int]:
    """Return the model rows that answered most of a period's X-rays, and how many X-rays others answered.

    Rows that differ only by threshold give the same suspicion. What is hidden from `blind_for` is left out.
    """
    labelled = (Screening.p_pneumonia.is_not(None), *shown_to(blind_for))
    columns: tuple[Any, ...] = (Screening.model_id, func.count(Screening.image_id.distinct()))
    answered = of_model(select(*columns).where(*newest_within(session, span, most), *labelled), model_name)
    counts = {key: images for key, images in session.execute(answered.group_by(Screening.model_id)) if key is not None}
    alike: dict[tuple[object, ...], list[uuid.UUID]] = {}
    for key, spec in session.execute(select(Model.id, Model.spec).where(Model.id.in_(counts))):
        alike.setdefault(what_gives_probabilities(spec), []).append(key)
    if not alike:
        return [], 0
    chosen = max(alike.values(), key=lambda models: sum(counts[key] for key in models))
    return chosen, sum(images for key, images in counts.items() if key not in chosen)


def count_suspicion(
    session: Session, span: Span, models: Sequence[uuid.UUID], most: int = MOST_ROWS, *, blind_for: User | None
) -> Counter[int]:
    """Count the X-rays of a period by p(pneumonia) in steps of 1/STEPS, among the newest `most` screenings.

    `models` are rows that give the same suspicion. Each X-ray counts once, however often it was sent: the statistical
    test assumes independent ones. What is hidden from `blind_for`, who reads blind, is left out.
    """
    labelled = (Screening.model_id.in_(models), Screening.p_pneumonia.is_not(None), *shown_to(blind_for))
    step = cast(func.round(Screening.p_pneumonia * STEPS), Integer).label("step")
    once = select(Screening.image_id, step).where(*newest_within(session, span, most), *labelled).distinct().subquery()
    columns: tuple[Any, ...] = (once.c.step, func.count())
    return Counter({int(place): images for place, images in session.execute(select(*columns).group_by(once.c.step))})


def count_a_day(session: Session, span: Span, most: int = MOST_ROWS, *, blind_for: User | None) -> float:
    """Return how many images got a result per day in a period, from any model.

    Days before this installation's first image do not count, nor do those before the newest `most`.
    """
    shown = and_(Screening.label.is_not(None), *shown_to(blind_for))
    columns: tuple[Any, ...] = (func.count(), func.count(case((shown, 1))), func.min(Screening.created_at))
    read, images, oldest = session.execute(select(*columns).where(*newest_within(session, span, most))).one()
    if not read:
        return 0.0
    first = session.scalars(select(Screening.created_at).order_by(Screening.id).limit(1)).one()
    start = oldest if read >= most else max(first, span.start)
    return float(images / max(1.0, (span.end - start) / timedelta(days=1)))


@dataclass(frozen=True)
class Flags:
    """How many images thresholds would have flagged."""

    images: int
    flagged: dict[float, int]
    """By threshold."""


def count_flags(
    session: Session,
    span: Span,
    models: Sequence[uuid.UUID],
    thresholds: Sequence[float],
    most: int = MOST_ROWS,
    *,
    blind_for: User | None,
) -> Flags:
    """Count the images that each threshold would have flagged by the models' answers, in the newest `most` screenings.

    What is hidden from `blind_for`, who reads blind, is left out.
    """
    answered = Screening.model_id.in_(models), Screening.label.is_not(None), *shown_to(blind_for)
    sums = [func.sum(case((Screening.p_pneumonia >= threshold, 1), else_=0)) for threshold in thresholds]
    counted = select(func.count(Screening.id), *sums).where(*newest_within(session, span, most), *answered)
    images, *flagged = session.execute(counted).one()
    return Flags(images, {threshold: count or 0 for threshold, count in zip(thresholds, flagged, strict=True)})
