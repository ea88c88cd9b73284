"""A viewer's request for a list: filters, order, and which images that viewer may see."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from shared.models.spec import Label
from shared.states import State
from shared.tables import Job, ReviewState, Role, User
from web.base.blind import hides_from
from web.lists.conditions import model_ids
from web.lists.filters import Filters, Order
from web.lists.readings import Reading

BY_READER: Final = (Reading.MINE, Reading.OTHERS)
"""No index has these in order; nobody has read what is unread."""


@dataclass(frozen=True)
class Wanted:
    """A viewer's request."""

    filters: Filters
    order: Order
    viewer: User
    owner: uuid.UUID | None = None
    """The only account whose images may be seen; None for all."""
    job: Job | None = None
    models: Sequence[uuid.UUID] = ()
    labels: tuple[Label, ...] = tuple(Label)
    """The labels that matching images can have."""
    is_possible: bool = True
    states: tuple[ReviewState, ...] = ()
    """In the order of the worklist: the review states of one of its parts."""
    is_blind_for: User | None = None
    """The blind reader, who may not see results of what only others have read."""

    @property
    def shows_predictions(self) -> bool:
        """Tell whether membership or position in this list reveals a prediction that may be hidden."""
        # Nobody has read what is unread, so nothing of it is hidden.
        is_unread = self.states == (ReviewState.UNREAD,)
        narrows = self.filters.needs_result or self.filters.review in {Reading.DISAGREED, Reading.INADEQUATE}
        return not is_unread and (self.order is not Order.NEWEST or narrows)

    def parts(self) -> list[tuple[int, "Wanted"]]:
        """Return the parts of the worklist in order, each with the number that its places begin with."""
        given = self.filters.review
        states = [state for state in ReviewState if given is None or state.value == given or given in BY_READER]
        parts = []
        for rank in (1, 0):
            some = tuple(state for state in states if (state is ReviewState.UNREAD) == rank)
            if some and (not rank or given not in BY_READER):
                parts.append((rank, replace(self, order=Order.SUSPICIOUS, states=some)))
        return parts


def want(session: Session, viewer: User, filters: Filters, order: Order) -> Wanted:
    """Combine the viewer's permissions, the filters and the order into a request."""
    owner = viewer.id if viewer.role is Role.TECHNICIAN else None  # as `web.guard.access.may_see`
    job = None
    if filters.job is not None:
        job = session.get(Job, filters.job)
        if job is None or owner not in {None, job.created_by_id}:
            return Wanted(filters, order, viewer, is_possible=False)
        owner = None  # all images of a job belong to one account
    # Only an image that is DONE has a prediction (`shared.states`, `shared.queue.leases`); the worklist also lists what
    # the gate refused.
    is_outside_list = order is Order.UNREAD and filters.review is Reading.OUTSIDE
    wants_result = filters.needs_result or (order is not Order.NEWEST and not is_outside_list)
    if wants_result and filters.state not in {None, State.DONE}:
        return Wanted(filters, order, viewer, is_possible=False)
    labels = (filters.label,) if filters.label else tuple(Label)
    blind_for = viewer if hides_from(viewer) else None
    models = model_ids(session, filters.model)
    return Wanted(filters, order, viewer, owner, job, models, labels, is_blind_for=blind_for)
