"""What narrows a list of films, from a query string to SQL."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, and_

from shared.modelspec import Label
from shared.states import State
from shared.tables import Model, Prediction, Screening
from web.paging import FilterError

T = TypeVar("T")


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

    def to_args(self) -> dict[str, str]:
        """Write the filters as a query string's arguments."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {_ARGUMENTS.get(name, name): str(value) for name, value in values.items() if value is not None}


def _probability(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def _day(value: str) -> date:
    day = date.fromisoformat(value)
    if day == date.max:  # it has no day after it
        raise ValueError(value)
    return day


def _text(value: str) -> str:
    if "\0" in value:  # PostgreSQL's text takes none
        raise ValueError(value)
    return value


_FIELDS: Final = {"job": "job_id"}
_ARGUMENTS: Final = {"job_id": "job"}
_READERS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "label": (Label, "NORMAL or PNEUMONIA"),
    "min_confidence": (_probability, "a number from 0 to 1"),
    "max_confidence": (_probability, "a number from 0 to 1"),
    "since": (_day, "a day such as 2025-01-31"),
    "until": (_day, "a day such as 2025-01-31"),
    "job_id": (uuid.UUID, "the id of a job"),
    "model": (_text, "the name of a model"),
    "text": (_text, "a part of a file name"),
    "state": (State, "one of " + ", ".join(State)),
}


def _read(name: str, value: str, reader: tuple[Callable[[str], T], str]) -> T:
    read, form = reader
    try:
        return read(value)
    except ValueError as error:
        raise FilterError(_ARGUMENTS.get(name, name), f"Give {form}. Received: '{value}'.") from error


def _check_range(name: str, start: Any, end: Any) -> None:
    """Refuse a range whose start is after its end: it would match nothing, as if there were nothing."""
    if start is not None and end is not None and start > end:
        raise FilterError(name, f"Give a start that is not after the end of the range, {end}. Received: '{start}'.")


def conditions(filters: Filters) -> Iterator[ColumnElement[bool]]:
    """Write filters as SQL over joined screenings, predictions and models."""
    if filters.label is not None:
        yield Prediction.label == filters.label
    if filters.min_confidence is not None:
        yield Prediction.confidence >= filters.min_confidence
    if filters.max_confidence is not None:
        yield Prediction.confidence <= filters.max_confidence
    if filters.since is not None:
        yield Screening.created_at >= _start(filters.since)
    if filters.until is not None:
        yield Screening.created_at < _start(filters.until) + timedelta(days=1)
    if filters.job_id is not None:
        yield Screening.job_id == filters.job_id
    if filters.model is not None:
        yield _is_model(filters.model)
    if filters.text is not None:
        yield Screening.file_name.icontains(filters.text, autoescape=True)
    if filters.state is not None:
        yield Screening.state == filters.state


def _start(day: date) -> datetime:
    return datetime.combine(day, clock.min, UTC)


def _is_model(wanted: str) -> ColumnElement[bool]:
    """Match a model by name, or by name@start-of-sha256."""
    name, _, sha256 = wanted.partition("@")
    return and_(Model.name == name, Model.sha256.startswith(sha256, autoescape=True)) if sha256 else Model.name == name
