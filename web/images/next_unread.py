"""The next image that nobody has read, in the list or the job that an image was opened from."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flask import g
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.states import State
from shared.tables import ReviewState, Screening
from web.base.paging import Place
from web.base.zones import current_zone
from web.lists.filters import Filters, Order
from web.lists.listing import ScreeningDetail, place_of
from web.lists.planner import find
from web.lists.readings import Reading
from web.lists.wanted import Wanted, want

_AT_ONCE: Final = 100
_MOST_STEPS: Final = 20
"""How many times _AT_ONCE read images of a list are skipped before the search gives up."""


@dataclass(frozen=True)
class Following:
    """The result of a search for the next unread image."""

    screening_id: uuid.UUID | None = None
    is_cut: bool = False
    """Whether it gave up before the end of the list: then there may be one though none was found."""


def next_unread(db: Session, screening: ScreeningDetail, args: Mapping[str, str]) -> Following:
    """Find the unread image after one, or the first from the beginning where none comes after."""
    if not args.get("order"):
        return Following(_next_of_job(db, screening))
    order = Order.from_args(args)
    if order is Order.UNREAD:
        return _next_of_worklist(db, screening, Filters.from_args(args, current_zone()))
    if order is Order.SUSPICIOUS and screening.p_pneumonia is None:
        return Following()
    wanted = want(db, g.user, Filters.from_args(args, current_zone()), order)
    place: Place = (
        (screening.p_pneumonia, screening.screening_id) if order is Order.SUSPICIOUS else (screening.screening_id,)
    )
    return _first_of(lambda start: _next_of_list(db, wanted, start, screening), place)


def _first_of(search: Callable[[Place | None], Following], place: Place | None) -> Following:
    """Search after a place, then from the beginning."""
    behind = search(place)
    if behind.screening_id is not None:
        return behind
    before = search(None)
    return Following(before.screening_id, before.is_cut or behind.is_cut)


def _next_of_worklist(db: Session, screening: ScreeningDetail, filters: Filters) -> Following:
    """Return the next image for the reader after one: the next unread, unless a filter says otherwise."""
    filters = replace(filters, review=filters.review or Reading.UNREAD)
    wanted, place = want(db, g.user, filters, Order.UNREAD), place_of(screening, filters, Order.UNREAD)

    def search(start: Place | None) -> Following:
        found = find(db, wanted, start, 2)
        ids = [place[-1] for place in found.places]
        return Following(next((key for key in ids if key != screening.screening_id), None), found.reached is not None)

    return _first_of(search, place)


def _next_of_job(db: Session, screening: ScreeningDetail) -> uuid.UUID | None:
    unread = select(Screening.id).where(*_is_unread(screening), Screening.job_id == screening.job_id)
    after = unread.where(Screening.position > screening.position).order_by(Screening.position).limit(1)
    return db.scalar(after) or db.scalar(unread.order_by(Screening.position).limit(1))


def _next_of_list(db: Session, wanted: Wanted, start: Place | None, screening: ScreeningDetail) -> Following:
    for _ in range(_MOST_STEPS):
        found = find(db, wanted, start, _AT_ONCE)
        ids = [place[-1] for place in found.places]
        unread = _unread_among(db, ids, screening)
        if unread is not None:
            return Following(unread)
        start = found.reached or (found.places[-1] if len(ids) == _AT_ONCE else None)
        if start is None:
            return Following()
    return Following(is_cut=True)


def _unread_among(db: Session, ids: Sequence[uuid.UUID], screening: ScreeningDetail) -> uuid.UUID | None:
    unread = set(db.scalars(select(Screening.id).where(*_is_unread(screening), Screening.id.in_(ids))))
    return next((key for key in ids if key in unread), None)


def _is_unread(screening: ScreeningDetail) -> tuple[Any, ...]:
    return (
        Screening.review_state == ReviewState.UNREAD,
        Screening.state == State.DONE,
        Screening.id != screening.screening_id,
    )
