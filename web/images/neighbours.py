"""An image's neighbours: before and after it in its list or its job, and the same image in other jobs."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import g, request
from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.tables import Image, Job, Screening
from web.base.numbers import count
from web.base.zones import current_zone
from web.guard.access import may_see
from web.languages.text import _
from web.lists.listing import Filters, Order, ScreeningDetail, beside, count_before, count_listed

MOST_ELSEWHERE: Final = 20


@dataclass(frozen=True)
class Neighbours:
    """The images before and after one, in the list that it was opened from, else in its job."""

    previous: uuid.UUID | None
    next: uuid.UUID | None
    order: str | None
    """Order of the list; None in a job."""
    listed: Mapping[str, Any]
    """The arguments of the list; none in a job."""
    place: str | None
    """The image's position in the worklist."""


def listed() -> dict[str, Any]:
    """Return the arguments of the list that an image was opened from, as carried on by links."""
    if not request.args.get("order"):
        return {}
    return {**Filters.from_args(request.args).to_args(), "order": Order.from_args(request.args).value}


def find_neighbours(db: Session, screening: ScreeningDetail) -> Neighbours:
    """Find an image's neighbours: in the list whose order is in the address, else in its job, by position."""
    if not request.args.get("order"):
        previous, following = _neighbour(db, screening, -1), _neighbour(db, screening, 1)
        return Neighbours(previous, following, order=None, listed={}, place=None)
    filters, order = Filters.from_args(request.args, current_zone()), Order.from_args(request.args)
    previous, following = beside(db, g.user, filters, order, screening)
    place = _say_place(db, filters, order, screening)
    return Neighbours(previous, following, order=order.value, listed=listed(), place=place)


def _say_place(db: Session, filters: Filters, order: Order, screening: ScreeningDetail) -> str | None:
    """Describe an image's position in the worklist (`12 of 212`); None for other lists, and too far down to count."""
    before = count_before(db, g.user, filters, screening) if order is Order.UNREAD else None
    if before is None or not before.is_exact:
        return None
    total = count_listed(db, g.user, filters)
    numbers = {"place": count(before.images + 1), "total": count(total.images)}
    return _("%(place)s of %(total)s", **numbers) if total.is_exact else _("%(place)s of at least %(total)s", **numbers)


def _neighbour(db: Session, screening: ScreeningDetail, step: int) -> uuid.UUID | None:
    """Return the image after this one in its job (`step` 1) or before it (-1)."""
    query = select(Screening.id).where(Screening.job_id == screening.job_id)
    if step > 0:
        query = query.where(Screening.position > screening.position).order_by(Screening.position)
    else:
        query = query.where(Screening.position < screening.position).order_by(Screening.position.desc())
    return db.scalar(query.limit(1))


def prefetchable(db: Session, screening_id: uuid.UUID | None) -> uuid.UUID | None:
    """Return an image whose picture exists, so that the page may prefetch it; None for any other."""
    has_picture = or_(Screening.state == State.DONE, Screening.error_code.in_(OF_THE_GATE))
    return db.scalar(select(Screening.id).where(Screening.id == screening_id, has_picture)) if screening_id else None


def find_elsewhere(db: Session, screening: ScreeningDetail) -> Sequence[Screening]:
    """Return the same image in other jobs that the viewer may see, newest first."""
    if screening.sha256 is None:
        return []
    query = (
        select(Screening)
        .join(Image)
        .join(Job, Screening.job_id == Job.id)
        .options(joinedload(Screening.job))
        .where(Image.sha256 == screening.sha256, Screening.id != screening.screening_id, may_see(g.user))
        .order_by(Screening.id.desc())
        .limit(MOST_ELSEWHERE)
    )
    return db.scalars(query).all()
