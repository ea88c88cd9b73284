"""Lists of images and jobs, a page at a time, for pages, API and exports."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, func, literal, select
from sqlalchemy.orm import Session, joinedload

from shared.db import Database
from shared.models.spec import ImageClass, Label, version_of
from shared.refusals import Details, Explanation
from shared.reviews.blind import hidden_images
from shared.reviews.reviews import reviews_of
from shared.reviews.standing import standing
from shared.states import State
from shared.tables import Image, Job, Model, Prediction, Review, ReviewState, Screening, User, in_states
from web.base.blind import hides_from
from web.base.paging import MOST_ROWS, FilterError, Key, PageOf, Place, key, share, turn, walk, whole
from web.frame.words import explain
from web.guard.access import may_see
from web.lists.filters import Filters, Order
from web.lists.planner import Count, count_worklist, find, holds, tests_reviews_of_rows
from web.lists.readings import Reading
from web.lists.wanted import Wanted, want

__all__ = ["FilterError", "Filters", "Order", "Page", "ScreeningDetail", "ScreeningSummary"]


@dataclass(frozen=True)
class ScreeningSummary:
    """One image of one job, with its prediction if there is one."""

    screening_id: uuid.UUID
    job_id: uuid.UUID
    job_name: str
    file_name: str
    position: int
    state: State
    label: Label | None
    cause: ImageClass | None
    confidence: float | None
    p_pneumonia: float | None
    threshold: float | None
    model: str | None
    error_code: str | None
    error_details: Details | None
    sha256: str | None
    created_at: datetime
    finished_at: datetime | None
    created_by: str
    has_heat_map: bool
    brightness: int | None
    contrast: int | None
    review_state: ReviewState
    image_id: uuid.UUID | None
    reviews: tuple[Review, ...]
    """Reviews that count, oldest first."""
    is_hidden: bool
    """Prediction and reviews are hidden until the viewer has reviewed the image."""

    @property
    def refusal(self) -> Explanation | None:
        """Explain why it has no prediction; None where no reason is known."""
        return explain(self.error_code, self.error_details) if self.error_code else None


@dataclass(frozen=True)
class ScreeningDetail(ScreeningSummary):
    """One image with all its details."""

    probabilities: dict[str, float] | None
    width: int | None
    height: int | None
    size_bytes: int | None
    media_type: str | None
    worker: str | None
    attempts: int
    started_at: datetime | None
    heat_map: bytes | None


R = TypeVar("R", bound=ScreeningSummary)
Page = PageOf[ScreeningSummary]
JobPage = PageOf[Job]


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
    Screening.error_details,
    Image.sha256,
    Screening.created_at,
    Screening.finished_at,
    User.name.label("created_by"),
    Prediction.heat_map.is_not(None).label("has_heat_map"),
    Prediction.brightness,
    Prediction.contrast,
    Screening.review_state,
    Screening.image_id,
    literal(False).label("is_hidden"),
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


def _select_screenings(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Screening)
        .join(Job, Screening.job_id == Job.id)
        .join(User, Job.created_by_id == User.id)
        .join(Image, Screening.image_id == Image.id, isouter=True)
        .join(Prediction, Screening.prediction_id == Prediction.id, isouter=True)
        .join(Model, Prediction.model_id == Model.id, isouter=True)
    )


def _values(row: RowMapping) -> dict[str, Any]:
    values = dict(row)
    name, sha256 = values.pop("model_name"), values.pop("model_sha256")
    return {**values, "model": version_of(name, sha256) if name else None, "reviews": ()}


_HIDDEN: Final[dict[str, Any]] = {
    **dict.fromkeys(("label", "cause", "confidence", "p_pneumonia", "threshold", "model", "brightness", "contrast")),
    "has_heat_map": False,
    "is_hidden": True,
}
"""A model's name is hidden, too: it would distinguish predictions of different calibrations."""


def _seen_by(session: Session, viewer: User, rows: Sequence[R]) -> list[R]:
    """Add the reviews that count, and remove what is hidden from the viewer."""
    images = {row.sha256 for row in rows if row.sha256 and row.review_state is not ReviewState.UNREAD}
    hidden = hidden_images(session, viewer, images) if hides_from(viewer) else set()
    reviews = reviews_of(session, images - hidden)
    return [
        hide(row) if row.sha256 in hidden else replace(row, reviews=tuple(standing(reviews.get(row.sha256 or "", ()))))
        for row in rows
    ]


def hide(row: R) -> R:
    """Remove from a row what a blind reader may not see yet."""
    more: dict[str, Any] = {"probabilities": None, "heat_map": None} if isinstance(row, ScreeningDetail) else {}
    # A request for a second reader does not reveal what the first one saw.
    waits = row.review_state is ReviewState.SECOND_READER
    return replace(row, review_state=row.review_state if waits else ReviewState.UNREAD, **_HIDDEN, **more)


_READERS: Final[dict[Order, tuple[Any, ...]]] = {
    Order.NEWEST: (key,),
    Order.SUSPICIOUS: (share, key),
    Order.UNREAD: (whole, share, key),
}
MOST_COUNTED: Final = 1000
"""More rows than this are reported as "more" instead of counted."""
MOST_COUNTED_BY_ROW: Final = 200
"""The same where each row's reviewers must be checked: of ten million rows, 1,000 took 200 ms."""
_POSITION: Final = Key[ScreeningSummary]((Screening.position,), (whole,), lambda row: (row.position,), descending=False)
NEWEST_JOBS: Final = Key[Job]((Job.id,), (key,), lambda job: (job.id,))


def list_screenings(  # noqa: PLR0917  # one question with six answers
    session: Session, viewer: User, filters: Filters, order: Order, cursor: str | None, limit: int
) -> Page:
    """Return one page of images; SUSPICIOUS holds only images with a prediction. Raises FilterError for a bad cursor.

    A page can be short, or empty, and have a next one, where the search for rare rows was cut short (`planner`).
    """
    wanted = want(session, viewer, filters, order)

    def look(start: Place | None, size: int, later: bool) -> tuple[list[Place], Place | None]:
        found = find(session, wanted, start, size, later=later)
        return found.places, found.reached

    page = walk(look, _READERS[order], cursor, limit)
    rows = read_screenings(session, viewer, [place[-1] for place in page.rows])
    return Page(rows, page.next_cursor, page.previous_cursor, page.reached)


def read_screenings(session: Session, viewer: User, ids: Sequence[uuid.UUID]) -> list[ScreeningSummary]:
    """Read images in the order of `ids`; those deleted meanwhile are omitted."""
    if not ids:
        return []
    query = _select_screenings(*_ROW).where(Screening.id.in_(ids))
    rows = {row["screening_id"]: ScreeningSummary(**_values(row)) for row in session.execute(query).mappings()}
    return _seen_by(session, viewer, [rows[key] for key in ids if key in rows])


def beside(
    session: Session, viewer: User, filters: Filters, order: Order, screening: ScreeningSummary
) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """Return the previous and next image in a list, found by key.

    None where the list cannot contain the image, and where one search finds none (`web.lists.planner`). In the worklist
    the next one is unread, as long as any is left, and the previous one is the next more suspicious, read or not: a
    reader moves on to unread images, and back to those just read.
    """
    place = place_of(screening, filters, order)
    if place is None:
        return None, None
    if order is not Order.UNREAD or filters.review is Reading.OUTSIDE:
        wanted = want(session, viewer, filters, order)
        return _nearest(session, wanted, place, later=False), _nearest(session, wanted, place, later=True)
    every = replace(filters, review=None if filters.review is Reading.UNREAD else filters.review)
    read_or_not = replace(want(session, viewer, every, Order.SUSPICIOUS), states=tuple(ReviewState))
    before = _nearest(session, read_or_not, place[1:], later=False)
    after = _nearest(session, want(session, viewer, filters, order), place, later=True)
    return before, after


def _nearest(session: Session, wanted: Wanted, place: Place, *, later: bool) -> uuid.UUID | None:
    places = find(session, wanted, place, 1, later=later).places
    return places[0][-1] if places else None


def place_of(screening: ScreeningSummary, filters: Filters, order: Order) -> Place | None:
    """Return the place of an image in a list; None where the list cannot contain it.

    In the worklist it is the place before the image was read, so that the next one is found from there.
    """
    if order is Order.NEWEST:
        return (screening.screening_id,)
    if order is Order.UNREAD and (filters.review is Reading.OUTSIDE or screening.is_hidden):
        return (0, 0.0, screening.screening_id)
    if screening.p_pneumonia is None:
        return None
    suspicion = (screening.p_pneumonia, screening.screening_id)
    if order is Order.SUSPICIOUS:
        return suspicion
    return (int(filters.review in {None, Reading.UNREAD}), *suspicion)


def count_listed(session: Session, viewer: User, filters: Filters, first: Page | None = None) -> Count:
    """Count the images of the worklist, up to MOST_COUNTED; not exact where the search was cut short.

    The `first` page, if available, may already tell.
    """
    if first is not None and (first.next_cursor is None or first.reached is not None):
        return Count(len(first.rows), is_exact=first.next_cursor is None)
    wanted = want(session, viewer, filters, Order.UNREAD)
    return count_worklist(session, wanted, None, _most_counted(session, wanted))


def count_before(session: Session, viewer: User, filters: Filters, screening: ScreeningSummary) -> Count | None:
    """Count the images before one in the worklist; None where that does not contain it, for example if read by now."""
    place = place_of(screening, filters, Order.UNREAD)
    if place is None:
        return None
    if filters.review is None:
        place = (int(screening.review_state is ReviewState.UNREAD), *place[1:])
    wanted = want(session, viewer, filters, Order.UNREAD)
    if not holds(session, wanted, screening.screening_id):
        return None
    return count_worklist(session, wanted, place, _most_counted(session, wanted), later=False)


def _most_counted(session: Session, wanted: Wanted) -> int:
    return MOST_COUNTED_BY_ROW if tests_reviews_of_rows(session, wanted) else MOST_COUNTED


def iterate_screenings(database: Database, viewer: User, filters: Filters, order: Order) -> Iterator[ScreeningSummary]:
    """Yield every filtered image, one page in memory at a time.

    Each page is read in its own transaction: one that lasts an hour would block the database's clean-up (vacuum).
    """
    cursor: str | None = None
    while True:
        with database.read() as session:
            page = list_screenings(session, viewer, filters, order, cursor, MOST_ROWS)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def job_rows(  # noqa: PLR0917  # one question with six answers
    session: Session,
    viewer: User,
    job_id: uuid.UUID,
    state: State | None,
    cursor: str | None,
    limit: int,
    error_code: str | None = None,
) -> Page:
    """Return one page of a job's images, by position; the caller checks who may see the job."""
    query: Select[Any] = select(Screening.id).where(Screening.job_id == job_id)
    if state is not None:
        query = query.where(in_states([state]))
    if error_code is not None:
        query = query.where(Screening.error_code == error_code)

    def fetch(page: Select[Any]) -> list[ScreeningSummary]:
        return read_screenings(session, viewer, [row.id for row in session.execute(page)])

    return turn(fetch, query, _POSITION, cursor, limit)


def get_screening(session: Session, viewer: User, screening_id: uuid.UUID) -> ScreeningDetail | None:
    """Return one image; None where there is none or the viewer may not see it."""
    query = _select_screenings(*_ROW, *_DETAIL).where(Screening.id == screening_id, may_see(viewer))
    row = session.execute(query).mappings().one_or_none()
    return _seen_by(session, viewer, [ScreeningDetail(**_values(row))])[0] if row is not None else None


def list_jobs(  # noqa: PLR0917  # one question with six answers
    session: Session,
    viewer: User,
    cursor: str | None,
    limit: int,
    conditions: Sequence[ColumnElement[bool]] = (),
    order: Key[Job] = NEWEST_JOBS,
) -> JobPage:
    """Return one page of jobs, by default newest first. Raises FilterError for a bad cursor."""
    query = select(Job).options(joinedload(Job.created_by)).where(may_see(viewer), *conditions)
    return turn(lambda page: list(session.scalars(page)), query, order, cursor, limit)


def get_job(session: Session, viewer: User, job_id: uuid.UUID) -> Job | None:
    """Return one job; None where there is none or the viewer may not see it."""
    query = select(Job).options(joinedload(Job.created_by)).where(Job.id == job_id, may_see(viewer))
    return session.scalar(query)
