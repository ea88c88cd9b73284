"""Daily volume: how many images were sent, their outcomes, and how long they took."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, Integer, Select, and_, case, cast, func, select, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from shared.models.spec import Label
from shared.quality.period import Period, Span
from shared.quality.statistics import Share, quantile
from shared.reviews.blind import shown_to
from shared.states import State
from shared.tables import Job, Prediction, Screening, User

MOST_ROWS: Final = 1_000_000
"""The most screenings that one page counts. 100,000 of 30 days take 1 s on SQLite."""
# Counted times are rounded to two digits, so that a day has only a few hundred different ones.
_STEPS: Final = ((10, 0.1), (100, 1), (1000, 10))
_LONG_STEP: Final = 100


@dataclass(frozen=True)
class Day:
    """The counts of one day."""

    day: date
    states: Counter[State]
    labels: Counter[Label]
    seconds: Counter[float]
    """Times from sending to result, to two digits, of screenings that a worker did."""
    flagged: Share
    """X-rays flagged, of those with a label; an image sent again counts once, as its interval requires."""

    @property
    def images(self) -> int:
        """Return how many images were sent; one sent again counts again."""
        return self.states.total()

    @property
    def refused(self) -> int:
        """Return how many were rejected because of the image itself."""
        return self.states[State.REJECTED]


@dataclass(frozen=True)
class Volume:
    """Days, oldest first, and why images were rejected or failed, by code."""

    days: list[Day]
    reasons: Counter[str]
    flagged: Share
    """Of all days together; an image sent on several of them counts once."""
    is_cut: bool = False
    """Older days of the period were left out because MOST_ROWS were counted."""
    total: Day = field(init=False)

    def __post_init__(self) -> None:
        """Sum over the days."""
        whole = Day(date.min, Counter(), Counter(), Counter(), self.flagged)
        for day in self.days:
            whole.states.update(day.states)
            whole.labels.update(day.labels)
            whole.seconds.update(day.seconds)
        object.__setattr__(self, "total", whole)


def count_days(
    session: Session,
    period: Period,
    model_name: str | None = None,
    most: int = MOST_ROWS,
    *,
    blind_for: User | None,
) -> Volume:
    """Count each day of a period, newest first, until `most` screenings were read.

    Labels that are hidden from `blind_for`, who reads blind, are left out; their images count.
    """
    counted: list[Day] = []
    reasons: Counter[str] = Counter()
    left, start, is_cut = most, period.span.end, False
    for day, span in reversed(period.days):
        # Rows of every model are read, whichever is requested.
        left -= _count_rows(session, span, left + 1)
        if left < 0:
            is_cut = True
            break
        rows = _outcomes(session, span, model_name, blind_for)
        flagged = _flagged(session, span, model_name, blind_for)
        counted.append(_day(day, rows, _seconds(session, span, model_name), flagged))
        start = span.start
        for row in rows:
            if row.error_code is not None and row.state in {State.REJECTED, State.FAILED}:
                reasons[row.error_code] += row.images
    flagged = _flagged(session, Span(start, period.span.end), model_name, blind_for)
    return Volume(counted[::-1], reasons, flagged, is_cut)


def of_model(query: Select[Any], model_name: str | None) -> Select[Any]:
    """Restrict a query of screenings to the jobs of a model where one is named."""
    if model_name is None:
        return query
    return query.join(Job, Job.id == Screening.job_id).where(Job.model_name == model_name)


def within(span: Span, rows: type[Screening | Prediction] = Screening) -> tuple[ColumnElement[bool], ...]:
    """Match the screenings, or other rows, of a time range, along the primary key."""
    first, after = span.ids
    return rows.id >= first, rows.id < after


def newest_within(
    session: Session, span: Span, most: int, rows: type[Screening | Prediction] = Screening
) -> tuple[ColumnElement[bool], ...]:
    """Match at most `most` of the newest screenings, or other rows, of a time range."""
    key = select(rows.id).where(*within(span, rows)).order_by(rows.id.desc()).offset(most).limit(1)
    before = session.scalar(key)
    return within(span, rows) if before is None else (*within(span, rows), rows.id > before)


def _count_rows(session: Session, span: Span, most: int) -> int:
    read = select(Screening.id).where(*within(span)).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(read)) or 0


def _outcomes(session: Session, span: Span, model_name: str | None, blind_for: User | None) -> Sequence[Any]:
    shown = and_(true(), *shown_to(blind_for))
    label = case((shown, Screening.label)).label("label")
    # A subquery: PostgreSQL does not recognise an expression with parameters as the same one in GROUP BY.
    read = of_model(select(Screening.state, label, Screening.error_code).where(*within(span)), model_name).subquery()
    groups = (read.c.state, read.c.label, read.c.error_code)
    return session.execute(select(*groups, func.count().label("images")).group_by(*groups)).all()


def _flagged(session: Session, span: Span, model_name: str | None, blind_for: User | None) -> Share:
    """Count the distinct images with a label, and those flagged."""
    labelled = Screening.label.is_not(None), *shown_to(blind_for)
    flagged = case((Screening.label == Label.PNEUMONIA, Screening.image_id))
    columns: tuple[Any, ...] = (func.count(flagged.distinct()), func.count(Screening.image_id.distinct()))
    part, whole = session.execute(of_model(select(*columns).where(*within(span), *labelled), model_name)).one()
    return Share(part, whole)


def _seconds(session: Session, span: Span, model_name: str | None) -> Counter[float]:
    took = _SecondsBetween(Screening.created_at, Screening.finished_at)
    # Images answered from an earlier result were never started and take no time.
    ended = Screening.state == State.DONE, Screening.started_at.is_not(None), Screening.finished_at.is_not(None)
    read = of_model(select(took.label("seconds")).where(*within(span), *ended), model_name).subquery()
    steps = [
        (read.c.seconds < below, cast(func.round(read.c.seconds / step), Integer) * step) for below, step in _STEPS
    ]
    rounded = case(*steps, else_=cast(func.round(read.c.seconds / _LONG_STEP), Integer) * _LONG_STEP)
    counted = select(rounded.label("seconds"), func.count()).group_by(rounded)
    return Counter({max(0.0, round(float(seconds), 1)): images for seconds, images in session.execute(counted)})


def _day(day: date, rows: Sequence[Any], seconds: Counter[float], flagged: Share) -> Day:
    states: Counter[State] = Counter()
    labels: Counter[Label] = Counter()
    for row in rows:
        states[row.state] += row.images
        if row.label is not None:
            labels[row.label] += row.images
    return Day(day, states, labels, seconds, flagged)


def typical_seconds(day: Day) -> tuple[float | None, float | None]:
    """Return the median and the 95th percentile of the time to a result."""
    return quantile(day.seconds, 0.5), quantile(day.seconds, 0.95)


class _SecondsBetween(FunctionElement[float]):
    """The seconds from one time to another, which SQLite keeps as text."""

    type = Float()
    inherit_cache = True
    name = "seconds_between"


@compiles(_SecondsBetween, "sqlite")
def _between_texts(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(_SecondsBetween, "postgresql")
def _between_times(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({end} - {start})) AS DOUBLE PRECISION)"
