"""Lists of films and jobs, a page at a time: what pages, API and exports all read."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from sqlalchemy import ColumnElement, RowMapping, Select, and_, func, or_, select
from sqlalchemy.orm import Session, joinedload

from shared.modelspec import FilmClass, Label
from shared.states import State
from shared.tables import Image, Job, Model, Prediction, Screening, User
from web.access import may_see
from web.filters import Filters, conditions
from web.paging import MOST_ROWS, FilterError, Key, Turned, turn

__all__ = ["FilmDetail", "FilmRow", "FilterError", "Filters", "Order", "Page"]

_VERSION_DIGITS: Final = 12  # of the sha256 in ModelSpec.version


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
    threshold: float | None
    model: str | None
    error_code: str | None
    error_message: str | None
    sha256: str | None
    created_at: datetime
    finished_at: datetime | None
    created_by: str
    has_heat_map: bool


@dataclass(frozen=True)
class FilmDetail(FilmRow):
    """One film with all that is known of it."""

    probabilities: dict[str, float] | None
    width: int | None
    height: int | None
    size_bytes: int | None
    media_type: str | None
    worker: str | None
    attempts: int
    started_at: datetime | None
    heat_map: bytes | None


Page = Turned[FilmRow]
JobPage = Turned[Job]


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
    Prediction.threshold,
    Model.name.label("model_name"),
    Model.sha256.label("model_sha256"),
    Screening.error_code,
    Screening.error_message,
    Image.sha256,
    Screening.created_at,
    Screening.finished_at,
    User.name.label("created_by"),
    Prediction.heat_map.is_not(None).label("has_heat_map"),
)
_DETAIL = (
    Prediction.probabilities,
    Image.width,
    Image.height,
    Image.size_bytes,
    Image.media_type,
    func.coalesce(Prediction.worker, Screening.worker).label("worker"),
    Screening.attempts,
    Screening.started_at,
    Prediction.heat_map,
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


_NEWEST: Final = Key[FilmRow]((Screening.id,), (uuid.UUID,), lambda row: [str(row.screening_id)])
_SUSPICIOUS: Final = Key[FilmRow](
    (Prediction.p_pneumonia, Screening.id), (float, uuid.UUID), lambda row: [row.p_pneumonia, str(row.screening_id)]
)
_POSITION: Final = Key[FilmRow]((Screening.position,), (int,), lambda row: [row.position], descending=False)
_JOBS: Final = Key[Job]((Job.id,), (uuid.UUID,), lambda job: [str(job.id)])


def list_films(  # noqa: PLR0917  # one question with six answers
    session: Session, viewer: User, filters: Filters, order: Order, cursor: str | None, limit: int
) -> Page:
    """Return one page of films; SUSPICIOUS holds only films with a prediction. Raises FilterError for a bad cursor."""
    suspicious = order is Order.SUSPICIOUS
    query = _select_films(*_ROW, answered=suspicious).where(may_see(viewer), *conditions(filters))
    return _read_films(session, query, _SUSPICIOUS if suspicious else _NEWEST, cursor, limit)


def beside(
    session: Session, viewer: User, filters: Filters, order: Order, film: FilmRow
) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """Return the films before and after one in a list, found by key; none where the list cannot hold the film."""
    suspicious = order is Order.SUSPICIOUS
    if suspicious and film.p_pneumonia is None:
        return None, None
    query = _select_films(Screening.id, answered=suspicious).where(may_see(viewer), *conditions(filters))
    place: list[tuple[Any, Any]] = [(Screening.id, film.screening_id)]
    if suspicious:
        place.insert(0, (Prediction.p_pneumonia, film.p_pneumonia))
    columns = [column for column, _ in place]
    before = query.where(_beyond(place, later=False)).order_by(*columns)
    after = query.where(_beyond(place, later=True)).order_by(*[column.desc() for column in columns])
    return session.scalar(before.limit(1)), session.scalar(after.limit(1))


def _beyond(place: Sequence[tuple[Any, Any]], *, later: bool) -> ColumnElement[bool]:
    """Match what comes later in a descending order, or earlier; the first column alone bounds the index."""
    (column, value), *ties = place
    strictly: ColumnElement[bool] = column < value if later else column > value
    if not ties:
        return strictly
    loosely = column <= value if later else column >= value
    return and_(loosely, or_(strictly, _beyond(ties, later=later)))


def count_unanswered(session: Session, viewer: User, filters: Filters) -> int:
    """Count the filtered films without a prediction, which the order SUSPICIOUS leaves out."""
    query = _select_films(func.count()).where(may_see(viewer), Screening.prediction_id.is_(None), *conditions(filters))
    return session.scalar(query) or 0


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
    query = _select_films(*_ROW).where(Screening.job_id == job_id)
    if state is not None:
        query = query.where(Screening.state == state)
    return _read_films(session, query, _POSITION, cursor, limit)


def _read_films(session: Session, query: Select[Any], key: Key[FilmRow], cursor: str | None, limit: int) -> Page:
    def fetch(page: Select[Any]) -> list[FilmRow]:
        return [FilmRow(**_values(row)) for row in session.execute(page).mappings()]

    return turn(fetch, query, key, cursor, limit)


def get_film(session: Session, viewer: User, screening_id: uuid.UUID) -> FilmDetail | None:
    """Return one film; None where there is none or it is not the viewer's to see."""
    query = _select_films(*_ROW, *_DETAIL).where(Screening.id == screening_id, may_see(viewer))
    row = session.execute(query).mappings().one_or_none()
    return FilmDetail(**_values(row)) if row is not None else None


def list_jobs(session: Session, viewer: User, cursor: str | None, limit: int) -> JobPage:
    """Return one page of jobs, newest first. Raises FilterError for a bad cursor."""
    query = select(Job).options(joinedload(Job.created_by)).where(may_see(viewer))
    return turn(lambda page: list(session.scalars(page)), query, _JOBS, cursor, limit)


def get_job(session: Session, viewer: User, job_id: uuid.UUID) -> Job | None:
    """Return one job; None where there is none or it is not the viewer's to see."""
    query = select(Job).options(joinedload(Job.created_by)).where(Job.id == job_id, may_see(viewer))
    return session.scalar(query)
