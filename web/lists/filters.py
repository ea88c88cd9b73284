"""What narrows a list of films, from a query string to SQL."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from shared.db import first_id
from shared.models.spec import Label
from shared.states import State
from shared.tables import Model
from web.base.paging import FilterError, text

T = TypeVar("T")

CLOCK_SLACK: Final = timedelta(hours=1)
"""By how much the time in a film's id may differ from when it was sent, as where a clock is set between the two."""
_DAY: Final = timedelta(days=1)
FIRST_DAY: Final = date(1970, 1, 1)
"""Ids count from here, and a day in UTC has one before it."""
LAST_DAY: Final = date(9999, 12, 30)
MOST_SHOWN: Final = 100
"""Characters of an argument that an error repeats."""
_ROUNDING: Final = 1e-9
"""Wider than the error of 1 - (1 - p)."""


class Order(StrEnum):
    """What comes first."""

    NEWEST = "newest"
    SUSPICIOUS = "suspicious"

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read an order from a query string, NEWEST where it names none; raise FilterError where it names another."""
        given = args.get("order") or cls.NEWEST.value
        if given not in list(cls):
            raise FilterError("order", f"Give {' or '.join(cls)}. Received: '{given}'.")
        return cls(given)


@dataclass(frozen=True)
class Filters:
    """Narrow a list of films; what is None does not narrow. Days are days in UTC, `until` counts whole."""

    label: Label | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    since: date | None = None
    until: date | None = None
    job_id: uuid.UUID | None = None
    model: str | None = None
    text: str | None = None
    state: State | None = None

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read filters from a query string; an empty value is none. Raises FilterError."""
        given = {_FIELDS.get(name, name): value.strip() for name, value in args.items() if value.strip()}
        filters = cls(**{name: _read(name, given[name], kind) for name, kind in _READERS.items() if name in given})
        _check_range("min_confidence", filters.min_confidence, filters.max_confidence)
        _check_range("since", filters.since, filters.until)
        return filters

    @property
    def has_days(self) -> bool:
        """Tell whether days are named."""
        return self.since is not None or self.until is not None

    @property
    def has_confidence(self) -> bool:
        """Tell whether a range of confidence is named."""
        return self.min_confidence is not None or self.max_confidence is not None

    @property
    def needs_result(self) -> bool:
        """Tell whether only a film with a prediction can be meant."""
        return bool(self.label or self.has_confidence or self.model or self.state is State.DONE)

    def to_args(self) -> dict[str, str]:
        """Write the filters as a query string's arguments."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {_ARGUMENTS.get(name, name): str(value) for name, value in values.items() if value is not None}


def _probability(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def read_day(value: str) -> date:
    """Read a day that a film can have been sent on; raise ValueError."""
    day = date.fromisoformat(value)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(value)
    return day


_FIELDS: Final = {"job": "job_id"}
_ARGUMENTS: Final = {"job_id": "job"}
_READERS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "label": (Label, "NORMAL or PNEUMONIA"),
    "min_confidence": (_probability, "a number from 0 to 1"),
    "max_confidence": (_probability, "a number from 0 to 1"),
    "since": (read_day, "a day such as 2025-01-31"),
    "until": (read_day, "a day such as 2025-01-31"),
    "job_id": (uuid.UUID, "the id of a job"),
    "model": (text, "the name of a model"),
    "text": (text, "a part of a file name"),
    "state": (State, "one of " + ", ".join(State)),
}


def _read(name: str, value: str, reader: tuple[Callable[[str], T], str]) -> T:
    read, form = reader
    try:
        return read(value)
    except ValueError as error:
        raise FilterError(_ARGUMENTS.get(name, name), f"Give {form}. Received: '{value[:MOST_SHOWN]}'.") from error


def _check_range(name: str, start: Any, end: Any) -> None:
    """Refuse a range whose start is after its end: it would match nothing, as if there were nothing."""
    if start is not None and end is not None and start > end:
        raise FilterError(name, f"Give a start that is not after the end of the range, {end}. Received: '{start}'.")


@dataclass(frozen=True)
class Test:
    """What must hold of a film, as SQL over anything that has these columns of `screenings`."""

    name: str
    columns: tuple[str, ...]
    of: Callable[[Any], ColumnElement[bool]]

    @property
    def is_of_rows(self) -> bool:
        """Tell whether only the row can tell; days are told by ids, but for films at their very edge."""
        return self.name != "days"


def tests(filters: Filters, models: Sequence[uuid.UUID] | None) -> Iterator[Test]:
    """Write filters as tests, all but the label; `models` are the ids behind a model's name."""
    if filters.has_confidence:
        yield Test("confidence", ("label", "p_pneumonia"), partial(_is_confident, filters))
    if filters.has_days:
        yield Test("days", ("created_at",), partial(_is_of_days, filters))
        yield Test("ids of the days", ("id",), lambda film: and_(*day_ids(filters, film.id)))
    if filters.job_id is not None:
        yield Test("job", ("job_id",), lambda film: film.job_id == filters.job_id)
    if models is not None:
        yield Test("model", ("model_id",), lambda film: film.model_id.in_(models))
    if filters.text is not None:
        yield Test("text", ("file_name",), lambda film: film.file_name.icontains(filters.text, autoescape=True))
    if filters.state is not None:
        yield Test("state", ("state",), lambda film: film.state == filters.state)


def confidence(label: Label, p_pneumonia: Any) -> Any:
    """Write the confidence in a label as SQL; `ModelSpec.judge` gives the same, to the last bit."""
    return p_pneumonia if label is Label.PNEUMONIA else 1.0 - p_pneumonia


def p_range(filters: Filters, label: Label) -> tuple[float, float]:
    """Return the least and the largest p(pneumonia) that the confidences asked for can come from."""
    low, high = filters.min_confidence or 0.0, 1.0 if filters.max_confidence is None else filters.max_confidence
    return (low, high) if label is Label.PNEUMONIA else (1.0 - high - _ROUNDING, 1.0 - low + _ROUNDING)


def _is_confident(filters: Filters, film: Any) -> ColumnElement[bool]:
    return or_(
        *[and_(film.label == label, *_in_range(filters, confidence(label, film.p_pneumonia))) for label in Label]
    )


def _in_range(filters: Filters, value: Any) -> Iterator[ColumnElement[bool]]:
    if filters.min_confidence is not None:
        yield value >= filters.min_confidence
    if filters.max_confidence is not None:
        yield value <= filters.max_confidence


def _is_of_days(filters: Filters, film: Any) -> ColumnElement[bool]:
    since = [film.created_at >= _start(filters.since)] if filters.since is not None else []
    until = [film.created_at < _start(filters.until) + _DAY] if filters.until is not None else []
    return and_(*since, *until)


def day_ids(filters: Filters, key: Any) -> Iterator[ColumnElement[bool]]:
    """Bound ids to those of films that can be of the days asked for: an id begins with its time."""
    if filters.since is not None:
        yield key >= first_id(_start(filters.since) - CLOCK_SLACK)
    if filters.until is not None:
        yield key < first_id(_start(filters.until) + _DAY + CLOCK_SLACK)


def _start(day: date) -> datetime:
    return datetime.combine(day, clock.min, UTC)


def model_ids(session: Session, wanted: str | None) -> list[uuid.UUID]:
    """Find models by name, or by name@start-of-sha256; all of them where none is wanted."""
    found = select(Model.id).order_by(Model.id)
    if wanted is not None:
        name, _, sha256 = wanted.partition("@")
        found = found.where(Model.name == name)
        if sha256:
            found = found.where(Model.sha256.startswith(sha256, autoescape=True))
    return list(session.scalars(found))
