"""Lists of films and jobs, a page at a time: what pages, API and exports all read."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, and_, func, or_, select, true
from sqlalchemy.orm import Session, joinedload

from shared.modelspec import FilmClass, Label
from shared.states import State
from shared.tables import Image, Job, Model, Prediction, Role, Screening, User
from web.problems import InvalidRequest

T = TypeVar("T")

MOST_ROWS: Final = 500
_VERSION_DIGITS: Final = 12  # of the sha256 in ModelSpec.version


class FilterError(InvalidRequest):
    """Say which filter cannot be used and why."""


class Order(StrEnum):
    """What comes first."""

    NEWEST = "newest"
    SUSPICIOUS = "suspicious"


@dataclass(frozen=True)
class FilmRow:
    """One film of one job, with its answer where there is one."""

    screening_id: uuid.UUID
    job_id: uuid.UUID
    job_name: str
    file_name: str
    position: int
    state: State
    label: Label | None
    cause: FilmClass | None
    confidence: float | None
    p_pneumonia: float | None
    model: str | None
    error_code: str | None
    error_message: str | None
    sha256: str | None
    created_at: datetime
    finished_at: datetime | None
    created_by: str


@dataclass(frozen=True)
class FilmDetail(FilmRow):
    """One film with all that is known of it."""

    probabilities: dict[str, float] | None
    threshold: float | None
    width: int | None
    height: int | None
    size_bytes: int | None
    media_type: str | None
    worker: str | None
    attempts: int
    started_at: datetime | None


@dataclass(frozen=True)
class Page:
    """Some films, and where the next ones begin."""

    rows: list[FilmRow]
    next_cursor: str | None


@dataclass(frozen=True)
class JobPage:
    """Some jobs, and where the next ones begin."""

    rows: list[Job]
    next_cursor: str | None


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
        return cls(**{name: _read(name, given[name], kind) for name, kind in _READERS.items() if name in given})

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


def may_see(viewer: User) -> ColumnElement[bool]:
    """Match the jobs that an account may see: technicians their own, readers and admins all."""
    return Job.created_by_id == viewer.id if viewer.role is Role.TECHNICIAN else true()


_ROW = (
    Screening.id.label("screening_id"),
    Screening.job_id,
    Job.name.label("job_name"),
    Screening.file_name,
    Screening.position,
    Screening.state,
    Prediction.label,
    Prediction.cause,
    Prediction.confidence,
    Prediction.p_pneumonia,
    Model.name.label("model_name"),
    Model.sha256.label("model_sha256"),
    Screening.error_code,
    Screening.error_message,
    Image.sha256,
    Screening.created_at,
    Screening.finished_at,
    User.name.label("created_by"),
)
_DETAIL = (
    Prediction.probabilities,
    Prediction.threshold,
    Image.width,
    Image.height,
    Image.size_bytes,
    Image.media_type,
    func.coalesce(Prediction.worker, Screening.worker).label("worker"),
    Screening.attempts,
    Screening.started_at,
)


def _select_films(*columns: Any, answered: bool = False) -> Select[Any]:
    """Join what a row shows; `answered` leaves out films without a prediction and lets its index lead."""
    return (
        select(*columns)
        .select_from(Screening)
        .join(Job, Screening.job_id == Job.id)
        .join(User, Job.created_by_id == User.id)
        .join(Image, Screening.image_id == Image.id, isouter=True)
        .join(Prediction, Screening.prediction_id == Prediction.id, isouter=not answered)
        .join(Model, Prediction.model_id == Model.id, isouter=not answered)
    )


def _values(row: RowMapping) -> dict[str, Any]:
    values = dict(row)
    name, sha256 = values.pop("model_name"), values.pop("model_sha256")
    return {**values, "model": f"{name}@{sha256[:_VERSION_DIGITS]}" if name else None}


def _conditions(filters: Filters) -> Iterator[ColumnElement[bool]]:
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


def list_films(  # noqa: PLR0917  # one question with six answers
    session: Session, viewer: User, filters: Filters, order: Order, cursor: str | None, limit: int
) -> Page:
    """Return one page of films; SUSPICIOUS holds only films with a prediction. Raises FilterError for a bad cursor."""
    suspicious = order is Order.SUSPICIOUS
    query = _select_films(*_ROW, answered=suspicious).where(may_see(viewer), *_conditions(filters))
    if suspicious:
        query = query.order_by(Prediction.p_pneumonia.desc(), Screening.id.desc())
    else:
        query = query.order_by(Screening.id.desc())
    if cursor is not None:
        query = query.where(_after_suspicious(cursor) if suspicious else Screening.id < _read_cursor(cursor, uuid.UUID))
    rows = _film_rows(session, query, limit)
    return _page(rows, limit, _suspicion if suspicious else _screening_id)


def _after_suspicious(cursor: str) -> ColumnElement[bool]:
    p, film = _read_cursor(cursor, lambda value: (float(value[0]), uuid.UUID(value[1])))
    # The first term alone bounds the index; the second settles equal probabilities.
    return and_(Prediction.p_pneumonia <= p, or_(Prediction.p_pneumonia < p, Screening.id < film))


def iterate_films(session: Session, viewer: User, filters: Filters, order: Order) -> Iterator[FilmRow]:
    """Yield every film that is filtered, a page in memory at a time."""
    cursor: str | None = None
    while True:
        page = list_films(session, viewer, filters, order, cursor, MOST_ROWS)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def job_rows(session: Session, job_id: uuid.UUID, state: State | None, cursor: str | None, limit: int) -> Page:
    """Return one page of a job's films, by position; whoever calls has checked who may see the job."""
    query = _select_films(*_ROW).where(Screening.job_id == job_id).order_by(Screening.position)
    if state is not None:
        query = query.where(Screening.state == state)
    if cursor is not None:
        query = query.where(Screening.position > _read_cursor(cursor, int))
    return _page(_film_rows(session, query, limit), limit, _position)


def get_film(session: Session, viewer: User, screening_id: uuid.UUID) -> FilmDetail | None:
    """Return one film; None where there is none or it is not the viewer's to see."""
    query = _select_films(*_ROW, *_DETAIL).where(Screening.id == screening_id, may_see(viewer))
    row = session.execute(query).mappings().one_or_none()
    return FilmDetail(**_values(row)) if row is not None else None


def list_jobs(session: Session, viewer: User, cursor: str | None, limit: int) -> JobPage:
    """Return one page of jobs, newest first."""
    query = select(Job).options(joinedload(Job.created_by)).where(may_see(viewer)).order_by(Job.id.desc())
    if cursor is not None:
        query = query.where(Job.id < _read_cursor(cursor, uuid.UUID))
    rows = list(session.scalars(query.limit(_bounded(limit) + 1)))
    shown = rows[: _bounded(limit)]
    return JobPage(shown, _write_cursor(str(shown[-1].id)) if len(rows) > len(shown) else None)


def get_job(session: Session, viewer: User, job_id: uuid.UUID) -> Job | None:
    """Return one job; None where there is none or it is not the viewer's to see."""
    query = select(Job).options(joinedload(Job.created_by)).where(Job.id == job_id, may_see(viewer))
    return session.scalar(query)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def _film_rows(session: Session, query: Select[Any], limit: int) -> list[FilmRow]:
    # One more than asked tells whether there is a next page.
    return [FilmRow(**_values(row)) for row in session.execute(query.limit(_bounded(limit) + 1)).mappings()]


def _page(rows: list[FilmRow], limit: int, key: Callable[[FilmRow], Any]) -> Page:
    shown = rows[: _bounded(limit)]
    return Page(shown, _write_cursor(key(shown[-1])) if len(rows) > len(shown) else None)


def _suspicion(row: FilmRow) -> list[Any]:
    return [row.p_pneumonia, str(row.screening_id)]


def _screening_id(row: FilmRow) -> str:
    return str(row.screening_id)


def _position(row: FilmRow) -> int:
    return row.position


def _write_cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, read: Callable[[Any], T]) -> T:
    try:
        return read(json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise FilterError("cursor", "Take it from the answer before, unchanged.") from error
