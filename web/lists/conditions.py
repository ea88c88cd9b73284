"""Filters as SQL conditions on images, tested row by row or by the columns of an index."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from shared.db import first_id
from shared.models.spec import Label
from shared.tables import Model, User
from web.lists.filters import FILTERS, Filters

CLOCK_SLACK: Final = timedelta(hours=1)
"""How much the time in an image's id may differ from its sending time, as when a clock is set in between."""
_DAY: Final = timedelta(days=1)
_ROUNDING: Final = 1e-9
"""Larger than the rounding error of 1 - (1 - p)."""


@dataclass(frozen=True)
class Test:
    """A condition on an image, as SQL over anything with these columns of `screenings`."""

    name: str
    columns: tuple[str, ...]
    of: Callable[[Any], ColumnElement[bool]]

    @property
    def is_of_rows(self) -> bool:
        """Tell whether it needs the row; days are determined by ids, except for images at their very edge."""
        return self.name != "days"


def tests(filters: Filters, viewer: User, models: Sequence[uuid.UUID] | None) -> Iterator[Test]:
    """Yield filters as tests, all but the label; `models` are the ids of a model's name."""
    if filters.has_confidence:
        yield Test("confidence", ("label", "p_pneumonia"), partial(_is_confident, filters))
    if filters.has_days:
        yield Test("days", ("created_at",), partial(_is_of_days, filters))
        yield Test("ids of the days", ("id",), lambda screening: and_(*day_ids(filters, screening.id)))
    if models is not None:
        yield Test("model", ("model_id",), lambda screening: screening.model_id.in_(models))
    for name, value in filters.given.items():
        if condition := FILTERS[name].condition:
            yield Test(name, FILTERS[name].columns, lambda screening, c=condition, v=value: c(v, screening, viewer))  # type: ignore[misc]


def confidence(label: Label, p_pneumonia: Any) -> Any:
    """Return the confidence in a label as SQL; `ModelSpec.judge` computes the same, to the last bit."""
    return p_pneumonia if label is Label.PNEUMONIA else 1.0 - p_pneumonia


def p_range(filters: Filters, label: Label) -> tuple[float, float]:
    """Return the least and the largest p(pneumonia) that can satisfy the filters."""
    low, high = filters.min_confidence or 0.0, 1.0 if filters.max_confidence is None else filters.max_confidence
    if label is Label.NORMAL:
        low, high = 1.0 - high - _ROUNDING, 1.0 - low + _ROUNDING
    most = 100.0 if filters.max_suspicion is None else filters.max_suspicion
    return max(low, (filters.min_suspicion or 0.0) / 100), min(high, most / 100)


def _is_confident(filters: Filters, screening: Any) -> ColumnElement[bool]:
    return or_(
        *[
            and_(screening.label == label, *_in_range(filters, confidence(label, screening.p_pneumonia)))
            for label in Label
        ]
    )


def _in_range(filters: Filters, value: Any) -> Iterator[ColumnElement[bool]]:
    if filters.min_confidence is not None:
        yield value >= filters.min_confidence
    if filters.max_confidence is not None:
        yield value <= filters.max_confidence


def _is_of_days(filters: Filters, screening: Any) -> ColumnElement[bool]:
    since = [screening.created_at >= _start(filters.since, filters)] if filters.since is not None else []
    until = [screening.created_at < _start(filters.until + _DAY, filters)] if filters.until is not None else []
    return and_(*since, *until)


def day_ids(filters: Filters, key: Any) -> Iterator[ColumnElement[bool]]:
    """Bound ids to images that can be of the requested days: an id begins with its time."""
    if filters.since is not None:
        yield key >= first_id(_start(filters.since, filters) - CLOCK_SLACK)
    if filters.until is not None:
        yield key < first_id(_start(filters.until + _DAY, filters) + CLOCK_SLACK)


def _start(day: date, filters: Filters) -> datetime:
    return datetime.combine(day, clock.min, filters.zone).astimezone(UTC)


def model_ids(session: Session, wanted: str | None) -> list[uuid.UUID]:
    """Find models by name, or by name@start-of-sha256; all of them by default."""
    found = select(Model.id).order_by(Model.id)
    if wanted is not None:
        name, _at, sha256 = wanted.partition("@")
        found = found.where(Model.name == name)
        if sha256:
            found = found.where(Model.sha256.startswith(sha256, autoescape=True))
    return list(session.scalars(found))
