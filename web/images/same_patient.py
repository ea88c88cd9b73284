"""Other X-rays of the same patient, as far as an account may see them, before, after or on the same day."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.tables import Image, Job, Screening, User
from web.base.blind import hides_from
from web.base.services import services
from web.base.zones import current_zone
from web.guard.access import may_see
from web.languages.text import plural
from web.lists.listing import ScreeningSummary, hide, read_screenings

MOST_IMAGES: Final = 1000
"""An identifier with more X-rays than this is no patient's: some device writes it into all of them."""
_OWN: Final[tuple[Any, ...]] = (Image.id, Image.patient, Image.taken_on, Screening.created_at)
_OTHER: Final[tuple[Any, ...]] = (
    Screening.id.label("screening_id"),
    Screening.image_id,
    Screening.label,
    Screening.created_at,
    Image.taken_on,
    Image.width,
    Image.height,
)
_DAYS_IN_MONTH: Final = 30.44
_DAYS_IN_YEAR: Final = 365.25
_MANY_DAYS: Final = 60
_MANY_MONTHS: Final = 24


class When(StrEnum):
    """How an X-ray lies in time beside the one that is looked at."""

    EARLIER = "earlier"
    SAME_DAY = "same_day"
    LATER = "later"


@dataclass(frozen=True)
class Dated:
    """The day of an X-ray."""

    day: date
    """From the header, else the day on which it was sent."""
    is_of_header: bool


@dataclass(frozen=True)
class Other:
    """Another X-ray of the same patient."""

    screening: ScreeningSummary
    dated: Dated
    when: When
    days: int | None
    """Days between both; None where a header has no date."""
    size: tuple[int, int]

    @property
    def interval(self) -> str:
        """Write the interval between both in the largest suitable unit; empty where it is unknown."""
        return "" if self.days is None or self.when is When.SAME_DAY else _say_interval(self.days, self.when)


@dataclass(frozen=True)
class SamePatient:
    """Other X-rays of an X-ray's patient, without name or number."""

    is_known: bool = False
    dated: Dated | None = None
    others: Sequence[Other] = ()
    """The nearest in time, newest first."""
    counts: Mapping[When, int] = field(default_factory=dict)
    """Of all of them."""

    @property
    def groups(self) -> list[tuple[When, list[Other]]]:
        """Return the non-empty groups: earlier, same day and later, the nearest first."""
        later = [other for other in reversed(self.others) if other.when is When.LATER]
        groups = [(when, [other for other in self.others if other.when is when]) for when in When]
        return [(when, later if when is When.LATER else others) for when, others in groups if others]


def find_same_patient(db: Session, user: User, screening: ScreeningSummary, most: int) -> SamePatient:
    """Return at most `most` other X-rays of a screening's patient that an account may see.

    One image in several jobs is one X-ray. To a blind reader, one that this reader has not read shows no result,
    whoever else has read it: the model's answer to it would hint at the answer to this one.
    """
    own = _own_image(db, screening)
    if own is None or not _is_patient(db, own.patient):
        return SamePatient()
    dated = _date(own)
    found = [(row, _date(row)) for row in _rows(db, user, own)]
    nearest = sorted(found, key=lambda it: (abs((it[1].day - dated.day).days), -it[0].screening_id.int))[:most]
    shown = sorted(nearest, key=lambda it: (it[1].day, it[0].screening_id), reverse=True)
    screenings = {row.screening_id: row for row in _read(db, user, [row.screening_id for row, _ in shown])}
    others = [
        _describe(screenings[row.screening_id], row, other, dated)
        for row, other in shown
        if row.screening_id in screenings  # not if deleted a moment ago
    ]
    counts = Counter(_when(other.day, dated.day) for _, other in found)
    return SamePatient(is_known=True, dated=dated, others=others, counts=counts)


def _own_image(db: Session, screening: ScreeningSummary) -> Row[Any] | None:
    if not services().settings.match_patients or screening.image_id is None:
        return None
    wanted = select(*_OWN).join(Screening, Screening.image_id == Image.id)
    return db.execute(wanted.where(Screening.id == screening.screening_id)).one_or_none()


def _is_patient(db: Session, patient: str | None) -> bool:
    if patient is None:
        return False
    some = select(Image.id).where(Image.patient == patient).limit(MOST_IMAGES + 1).subquery()
    return (db.scalar(select(func.count()).select_from(some)) or 0) <= MOST_IMAGES


def _rows(db: Session, user: User, own: Row[Any]) -> Iterable[Row[Any]]:
    """Return one screening of each other image of the patient: the newest with a prediction, else the newest."""
    is_shown = or_(Screening.state != State.REJECTED, Screening.error_code.in_(OF_THE_GATE))
    query = (
        select(*_OTHER)
        .join(Image, Screening.image_id == Image.id)
        .join(Job, Screening.job_id == Job.id)
        .where(Image.patient == own.patient, Image.id != own.id, is_shown, may_see(user))
        .order_by(Screening.id)
    )
    best: dict[uuid.UUID, Row[Any]] = {}
    for row in db.execute(query):
        if row.label is not None or row.image_id not in best or best[row.image_id].label is None:
            best[row.image_id] = row
    return best.values()


def _date(row: Row[Any]) -> Dated:
    if row.taken_on is not None:
        return Dated(row.taken_on, is_of_header=True)
    return Dated(row.created_at.astimezone(current_zone()).date(), is_of_header=False)


def _read(db: Session, user: User, ids: Sequence[uuid.UUID]) -> list[ScreeningSummary]:
    rows = read_screenings(db, user, ids)
    if not hides_from(user):
        return rows
    return [row if any(review.user_id == user.id for review in row.reviews) else hide(row) for row in rows]


def _describe(screening: ScreeningSummary, row: Row[Any], other: Dated, own: Dated) -> Other:
    both = other.is_of_header and own.is_of_header
    days = abs((other.day - own.day).days) if both else None
    return Other(screening, other, _when(other.day, own.day), days, (row.width, row.height))


def _when(other: date, own: date) -> When:
    if other == own:
        return When.SAME_DAY
    return When.EARLIER if other < own else When.LATER


def _say_interval(days: int, when: When) -> str:
    months, years = round(days / _DAYS_IN_MONTH), round(days / _DAYS_IN_YEAR)
    is_earlier = when is When.EARLIER
    if days < _MANY_DAYS:
        if is_earlier:
            return plural(days, "%(count)s day earlier", "%(count)s days earlier")
        return plural(days, "%(count)s day later", "%(count)s days later")
    if months < _MANY_MONTHS:
        if is_earlier:
            return plural(months, "%(count)s month earlier", "%(count)s months earlier")
        return plural(months, "%(count)s month later", "%(count)s months later")
    if is_earlier:
        return plural(years, "%(count)s year earlier", "%(count)s years earlier")
    return plural(years, "%(count)s year later", "%(count)s years later")
