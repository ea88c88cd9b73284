"""Find images in lists of any length: choose the index that leads to what is asked, by how much it leads to.

What many images meet is soon found along the list itself. What few images meet is found through the index that leads to
them alone, wherever in the list they lie. What is left, as a filter by name, is searched a stretch at a time.
"""

import uuid
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, select, true
from sqlalchemy.orm import Session

from shared.db import READ_ONLY
from shared.models.spec import Label
from shared.reviews.blind import is_hidden_from
from shared.states import State
from shared.tables import Job, ReviewState, Role, Screening, User, in_states
from web.base.blind import hides_from
from web.base.paging import Place
from web.lists.conditions import Test, day_ids, model_ids, p_range, tests
from web.lists.filters import FILTERS, Filters, Order
from web.lists.readings import Reading, is_outside
from web.lists.shortlist import among
from web.lists.walker import MOST_SCATTERED, Found, Run, Search, go_along, tally

FEW: Final = 12_000
"""So many images are read and sorted in some 20 ms."""
LARGEST_JOB: Final = 100_000
"""Images of a job that are sorted by age, for which no index is kept."""
MOST_UNANSWERED: Final = 300
"""More images without a result are not counted, only said to be more."""

_GLANCE: Final = 2000
"""Images of the list itself to look at before another way is tried."""
_NO_RESULT: Final = tuple(state for state in State if state is not State.DONE)
_RARE_STATES: Final = (State.QUEUED, State.RUNNING)
"""Bounded by the backlog, and in indexes of their own, which have another order."""
_STATE_ORDERS: Final = {
    State.QUEUED: (Screening.priority, Screening.turn, Screening.id),
    State.RUNNING: (Screening.lease_until,),
}
_SUSPICION: Final = (Screening.p_pneumonia, Screening.id)
_LED: Final = "led"
"""In `Session.info`: what filters lead to."""
_ID: Final = frozenset({"id"})
_OWN: Final = _ID | {"created_by_id"}
_RESULT: Final = _ID | {"label", "p_pneumonia"}
_COVERED: Final = _RESULT | {"created_by_id", "model_id"}
_READ: Final = _COVERED | {"review_state"}
_BY_READER: Final = (Reading.MINE, Reading.OTHERS)
"""What no index leads to; nobody has read what is unread."""


@dataclass(frozen=True)
class Count:
    """How many images there are; at least so many where it is not exact."""

    images: int
    is_exact: bool = True


@dataclass(frozen=True)
class _Shortcut:
    """What one filter alone leads to, in whatever order."""

    name: str
    runs: list[Run]
    index: tuple[Any, ...]
    """The columns that give its index an order."""
    leads: AbstractSet[str]
    """The tests that hold of all that it leads to."""
    indexed: frozenset[str] | None = None
    """Columns that its index holds; None where rows lie together, so that it is best to read them at once."""


@dataclass(frozen=True)
class Wanted:
    """What a viewer asks for."""

    filters: Filters
    order: Order
    viewer: User
    owner: uuid.UUID | None = None
    """Whose images alone may be seen."""
    job: Job | None = None
    models: Sequence[uuid.UUID] = ()
    labels: tuple[Label, ...] = tuple(Label)
    """The labels that images can have."""
    is_possible: bool = True
    states: tuple[ReviewState, ...] = ()
    """In the order of the worklist: the review states of one of its parts."""
    is_blind_for: User | None = None
    """Who may not see what others have read already."""

    @property
    def cells(self) -> list[Run]:
        """Lead to each label of each model."""
        pairs = product(self.labels, self.models)
        return [(Screening.label == label, Screening.model_id == model) for label, model in pairs]

    @property
    def days(self) -> Run:
        """Lead to the days, by the time in an image's id."""
        return tuple(day_ids(self.filters, Screening.id))

    def tests(self, *but: str) -> tuple[Test, ...]:
        """Return what must hold of an image, but for what its index sees to."""
        every = list(tests(self.filters, self.viewer, self.models if self.filters.model else None))
        if self.owner is not None:
            every.append(Test("owner", ("created_by_id",), lambda screening: screening.created_by_id == self.owner))
        if self.states:
            every.append(Test("latest", ("is_latest", "label"), _is_listed))
            every.append(
                Test("review state", ("review_state",), lambda screening: screening.review_state.in_(self.states))
            )
        if self.is_blind_for is not None and self._shows_predictions:
            # Where a hidden prediction would show by its place in the list, or by being in it, its image is left out.
            reader = self.is_blind_for
            columns = ("image_id", "review_state")
            every.append(Test("blind", columns, lambda screening: ~is_hidden_from(reader, screening)))
        if len(self.labels) == 1:
            every.append(Test("label", ("label",), lambda screening: screening.label == self.labels[0]))
        return tuple(test for test in every if test.name not in but)

    @property
    def _shows_predictions(self) -> bool:
        """Tell whether being in this list, or its place in it, tells of a prediction that may be hidden."""
        # Nobody has read what is unread, so nothing of it is hidden.
        is_unread = self.states == (ReviewState.UNREAD,)
        narrows = self.filters.needs_result or self.filters.review in {Reading.DISAGREED, Reading.INADEQUATE}
        return not is_unread and (self.order is not Order.NEWEST or narrows)

    def of_job(self) -> tuple[Run, ...]:
        """Lead to each label of the job."""
        job = () if self.job is None else (Screening.job_id == self.job.id,)
        return tuple((*job, *self.by_suspicion(label)) for label in self.labels)

    def by_suspicion(self, label: Label) -> Run:
        """Lead to a label, within the range of its confidences."""
        if not self.filters.bounds_p:
            return (Screening.label == label,)
        low, high = p_range(self.filters, label)
        return (Screening.label == label, Screening.p_pneumonia >= low, Screening.p_pneumonia <= high)

    def by_reading(self, state: ReviewState) -> Run:
        """Lead to a review state in the worklist, within the range of p(pneumonia)."""
        leads: Run = (_is_listed(Screening), Screening.review_state == state)
        if not self.filters.bounds_p:
            return leads
        ranges = [p_range(self.filters, label) for label in self.labels]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        return (*leads, Screening.p_pneumonia >= low, Screening.p_pneumonia <= high)

    def parts(self) -> list[tuple[int, "Wanted"]]:
        """Return the parts of the worklist in their order, each with the number that leads its places."""
        given = self.filters.review
        states = [state for state in ReviewState if given is None or state.value == given or given in _BY_READER]
        parts = []
        for rank in (1, 0):
            some = tuple(state for state in states if (state is ReviewState.UNREAD) == rank)
            if some and (not rank or given not in _BY_READER):
                parts.append((rank, replace(self, order=Order.SUSPICIOUS, states=some)))
        return parts


def _is_listed(screening: Any) -> ColumnElement[bool]:
    """Match the one screening of an image that the worklist shows."""
    return and_(screening.is_latest, screening.label.is_not(None))


def want(session: Session, viewer: User, filters: Filters, order: Order) -> Wanted:
    """Say what a viewer may see, is filtered, and is listed in an order."""
    owner = viewer.id if viewer.role is Role.TECHNICIAN else None  # as `web.guard.access.may_see`
    job = None
    if filters.job is not None:
        job = session.get(Job, filters.job)
        if job is None or owner not in {None, job.created_by_id}:
            return Wanted(filters, order, viewer, is_possible=False)
        owner = None  # a job's images are all of one account
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


def find(session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool = True) -> Found:
    """Find up to `size` images after a place of the list, nearest first, or before it where not `later`."""
    if not wanted.is_possible:
        return Found([])
    filters = wanted.filters
    if wanted.order is Order.UNREAD:
        return _find_unread_first(session, wanted, start, size, later=later)
    if any(FILTERS[name].leads for name in filters.given):
        found = _find_led(session, wanted, start, size, later=later)
        if found is not None:
            return found
    if wanted.order is Order.NEWEST and wanted.job is not None and not filters.needs_result:
        return _find_in_job(session, wanted, wanted.job, start, size, later=later)
    if wanted.order is Order.NEWEST and wanted.job is None and (filters.needs_result or filters.state in _RARE_STATES):
        glance = replace(_all_screenings(wanted), most=_GLANCE)
        found = go_along(session, [glance], start, size, later=later)
        if len(found.places) == size or found.reached is None:
            return found
    return go_along(session, list(_searches(session, wanted)), start, size, later=later)


def _find_unread_first(session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool) -> Found:
    """Go through the parts of the worklist one after the other."""
    places: list[Place] = []
    for lead, part, at in _parts_from(wanted, start, later=later):
        found = go_along(session, _searches_of(session, part), at, size - len(places), later=later)
        places += [(*lead, *place) for place in found.places]
        if found.reached is not None:
            return Found(places, (*lead, *found.reached))
        if len(places) == size:
            break
    return Found(places)


def count_worklist(session: Session, wanted: Wanted, start: Place | None, most: int, *, later: bool = True) -> Count:
    """Count the images of the worklist after a place, or before it; not exact where they are more than `most`."""
    if not wanted.is_possible:
        return Count(0)
    total = 0
    for _, part, at in _parts_from(wanted, start, later=later):
        images, is_whole = tally(session, _searches_of(session, part), at, most + 1 - total, later=later)
        total += images
        if not is_whole:
            return Count(min(total, most), is_exact=False)
    return Count(total)


def _parts_from(wanted: Wanted, start: Place | None, *, later: bool) -> Iterator[tuple[Place, Wanted, Place | None]]:
    """Yield the parts of the worklist from a place on: what its places begin with, its images, and where to start."""
    parts = _parts(wanted)
    for lead, part in parts if later else parts[::-1]:
        rank = lead[0]
        if start is None or (rank <= start[0] if later else rank >= start[0]):
            yield lead, part, start[len(lead) :] if start is not None and start[0] == rank else None


def _parts(wanted: Wanted) -> list[tuple[Place, Wanted]]:
    """Return the parts of the worklist in their order, each with what the places of its images begin with."""
    if wanted.filters.review is Reading.OUTSIDE:
        return [((0, 0.0), replace(wanted, order=Order.NEWEST))]
    if wanted.is_blind_for is not None and wanted.filters.review is Reading.SECOND_READER:
        return [((0, 0.0), replace(wanted, order=Order.NEWEST, states=(ReviewState.SECOND_READER,)))]
    return [((rank,), part) for rank, part in wanted.parts()]


def _searches_of(session: Session, part: Wanted) -> list[Search]:
    """Choose the way through one part of the worklist."""
    if part.order is Order.NEWEST:
        return [_second_reader(part) if part.states else _outside(session, part)]
    led = _led(session, part)
    return [led] if led is not None else list(_searches(session, part))


def _outside(session: Session, wanted: Wanted) -> Search:
    """Go along what the gate refused, newest first: it has no suspicion."""
    run = (is_outside(Screening), *wanted.days)
    return _led(session, wanted) or Search((run,), wanted.tests("review", "ids of the days"), _ID)


def _second_reader(wanted: Wanted) -> Search:
    """Read what waits for a second reader, newest first: whoever reads blind may not see which is more suspicious."""
    run = wanted.by_reading(ReviewState.SECOND_READER)
    by = (Screening.p_pneumonia, Screening.id)
    return Search((run,), wanted.tests("latest", "review state", "review"), _READ, sorted_by=by)


def _find_led(session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool) -> Found | None:
    """Find images through the few that one filter alone leads to; None where those are not few.

    Newest first, a glance along the list comes before: what many names hold is met there at once.
    """
    along = _along(wanted)
    if wanted.order is Order.NEWEST and wanted.job is None:
        found = go_along(session, [replace(along, most=_GLANCE)], start, size, later=later)
        if len(found.places) == size or found.reached is None:
            return found
    search = _led(session, wanted)
    return go_along(session, [search], start, size, later=later) if search is not None else None


def _led(session: Session, wanted: Wanted) -> Search | None:
    """Read the few images that one filter alone leads to; None where no filter does."""
    few = _lead(session, wanted)
    if few is None:
        return None
    leads = among(few, session.get_bind().dialect.name == "sqlite")
    return Search(((leads,),), wanted.tests(), sorted_by=(Screening.id,), key=_along(wanted).key)


def holds(session: Session, wanted: Wanted, screening_id: uuid.UUID) -> bool:
    """Tell whether the worklist holds an image."""
    if not wanted.is_possible:
        return False
    image = select(Screening.id).where(Screening.id == screening_id)
    return any(
        session.scalar(image.where(*[test.of(Screening) for test in part.tests()])) for _, part in _parts(wanted)
    )


def tests_reviews_of_rows(session: Session, wanted: Wanted) -> bool:
    """Tell whether rows are tested one by one for who reviewed them: the reviews of an account are too many to lead."""
    filters = wanted.filters
    return (filters.review in _BY_READER or filters.reviewed_by is not None) and _lead(session, wanted) is None


def _lead(session: Session, wanted: Wanted) -> list[uuid.UUID] | None:
    """Return the few screenings that a filter leads to; a transaction that only reads asks once."""
    known: dict[Any, list[uuid.UUID] | None] = session.info.setdefault(_LED, {}) if READ_ONLY in session.info else {}
    for name, value in wanted.filters.given.items():
        leads, asked = FILTERS[name].leads, (name, value, wanted.viewer.id)
        if leads is not None and asked not in known:
            known[asked] = leads(session, value, wanted.viewer)
        if known.get(asked) is not None:
            return known[asked]
    return None


def _find_in_job(session: Session, wanted: Wanted, job: Job, start: Place | None, size: int, *, later: bool) -> Found:
    """Find images of one job, newest first: the later its position, the later an image came."""
    at = _positions(session, job, Screening.id, [start[0]]) if start is not None else {}
    state = () if wanted.filters.state is None else _lead_to(wanted.filters.state)
    search = Search(((Screening.job_id == job.id, *state),), wanted.tests("job", "state"), key=(Screening.position,))
    if start is not None and start[0] not in at:  # deleted with its job, or of another one
        return Found([])
    found = go_along(session, [search], (at[start[0]],) if start is not None else None, size, later=later)
    positions = [place[0] for place in (*found.places, *([found.reached] if found.reached else []))]
    ids = {position: (key,) for key, position in _positions(session, job, Screening.position, positions).items()}
    reached = ids.get(found.reached[0]) if found.reached else None
    return Found([ids[position] for (position,) in found.places if position in ids], reached)


def _positions(session: Session, job: Job, column: Any, values: Sequence[Any]) -> dict[uuid.UUID, int]:
    query = select(Screening.id, Screening.position).where(Screening.job_id == job.id, column.in_(values))
    return {row.id: row.position for row in session.execute(query)}


def _searches(session: Session, wanted: Wanted) -> Iterator[Search]:
    """Choose between what leads to few images and the order of the list, where need be for each label apart."""
    by_label = wanted.filters.has_confidence and wanted.order is Order.NEWEST and wanted.job is None
    for part in [replace(wanted, labels=(label,)) for label in wanted.labels] if by_label else [wanted]:
        along = _along(part)
        yield _few(session, part, along) or along


def _all_screenings(wanted: Wanted) -> Search:
    """Go along all images that may be seen, newest first."""
    left = wanted.tests("owner", "ids of the days")
    if wanted.owner is None:
        return Search((wanted.days,), left)
    return Search(((Screening.created_by_id == wanted.owner, *wanted.days),), left, _ID)


def _along(wanted: Wanted) -> Search:
    """Go along the index that leads to most of what is asked in the order of the list."""
    filters = wanted.filters
    runs: list[Run]
    if wanted.order is Order.SUSPICIOUS and wanted.job is not None:
        return Search(wanted.of_job(), wanted.tests("job", "label", "state"), _RESULT, key=_SUSPICION)
    if wanted.states:
        runs = [wanted.by_reading(state) for state in wanted.states]
        seen_to = {"latest", "review state", "state"} | ({"review"} if filters.review not in _BY_READER else set())
        return Search(tuple(runs), wanted.tests(*seen_to), _READ, key=_SUSPICION)
    if wanted.order is Order.SUSPICIOUS:
        runs = [wanted.by_suspicion(label) for label in wanted.labels]
        return Search(tuple(runs), wanted.tests("label", "state"), _COVERED, key=_SUSPICION)
    if filters.needs_result:
        runs = [(*cell, *wanted.days) for cell in wanted.cells]
        return Search(tuple(runs), wanted.tests("label", "model", "state", "ids of the days"), _COVERED)
    if filters.state is not None and filters.state not in _RARE_STATES:
        runs = [(*_lead_to(filters.state), *wanted.days)]
        return Search(tuple(runs), wanted.tests("state", "ids of the days"), _OWN)
    return _all_screenings(wanted)


def _lead_to(state: State) -> Run:
    """Lead to a state; an image that is held has a lease: said so, SQLite reads the index of leases."""
    held = (Screening.lease_until.is_not(None),) if state is State.RUNNING else ()
    return (in_states([state]), *held)


def _few(session: Session, wanted: Wanted, along: Search) -> Search | None:
    """Return the way of a filter that leaves few images; None where there is none, or where nothing is to be tested."""
    filters, job, key = wanted.filters, wanted.job, along.key
    left = {test.name for test in along.tests}
    if wanted.order is Order.SUSPICIOUS:
        left -= {"confidence", "min_suspicion", "max_suspicion"}  # the runs hold nothing else but what rounding lets in
    if not left:
        return None
    if job is not None and wanted.order is Order.NEWEST and job.next_position <= LARGEST_JOB:
        by = (Screening.label, Screening.p_pneumonia, Screening.id)
        return Search(wanted.of_job(), wanted.tests("job", "label", "state"), _RESULT, sorted_by=by)
    if job is not None and wanted.order is Order.SUSPICIOUS and job.next_position <= FEW:
        run = (Screening.job_id == job.id,)
        return Search((run,), wanted.tests("job"), sorted_by=(Screening.position,), key=key)
    if filters.state in _RARE_STATES:
        return Search((_lead_to(filters.state),), wanted.tests("state"), _OWN, sorted_by=_STATE_ORDERS[filters.state])
    for shortcut in _shortcuts(wanted, left):
        is_scattered = shortcut.indexed is not None and (filters.text is not None or bool(wanted.states))
        most = MOST_SCATTERED if is_scattered else FEW
        if shortcut.name in left and _count_entries(session, shortcut, most + 1) <= most:
            tests_left = wanted.tests(*shortcut.leads)
            return Search(tuple(shortcut.runs), tests_left, shortcut.indexed, sorted_by=shortcut.index, key=key)
    return None


def _shortcuts(wanted: Wanted, left: AbstractSet[str]) -> Iterator[_Shortcut]:
    filters = wanted.filters
    index: tuple[Any, ...]
    if filters.text is not None:  # where no index of names helps, so that a short list is searched whole
        if wanted.order is Order.NEWEST:
            yield _Shortcut("text", [()], (Screening.id,), set())
        else:
            index = (Screening.label, Screening.p_pneumonia, Screening.id)
            yield _Shortcut("text", [wanted.by_suspicion(label) for label in wanted.labels], index, {"label"})
    if wanted.owner is not None:
        yield _Shortcut("owner", [(Screening.created_by_id == wanted.owner,)], (Screening.id,), {"owner"})
    if filters.bounds_p:
        runs = [wanted.by_suspicion(label) for label in wanted.labels]
        index = (Screening.label, Screening.p_pneumonia, Screening.id)
        names = ("confidence", "min_suspicion", "max_suspicion")
        name = next((name for name in names if name in left), names[0])
        yield _Shortcut(name, runs, index, {"label", "state"}, _COVERED)
    if wanted.order is Order.SUSPICIOUS and filters.has_days:
        yield _Shortcut("days", [wanted.days], (Screening.id,), {"ids of the days"})
    if wanted.order is Order.SUSPICIOUS and filters.model is not None:
        index = (Screening.label, Screening.model_id, Screening.id)
        yield _Shortcut("model", wanted.cells, index, {"label", "model", "state"}, _COVERED)


def _count_entries(session: Session, shortcut: _Shortcut, most: int) -> int:
    total = 0
    for run in shortcut.runs:
        entries = select(Screening.id).where(*run).order_by(*shortcut.index).limit(most - total).subquery()
        total += session.scalar(select(func.count()).select_from(entries)) or 0
        if total >= most:
            break
    return total


def count_unanswered(session: Session, viewer: User, filters: Filters) -> Count:
    """Count the filtered images without a prediction, among the first MOST_UNANSWERED of each state."""
    wanted = want(session, viewer, filters, Order.NEWEST)
    if filters.needs_result or not wanted.is_possible:
        return Count(0)
    counted = wanted.tests("state", "job")
    names = {name for test in counted for name in test.columns}
    total, is_exact = 0, True
    for state in _NO_RESULT if filters.state is None else (filters.state,):
        entries = _of_state(state, wanted, names).subquery()
        matched = and_(true(), *[test.of(entries.c) for test in counted])
        read, images = session.execute(select(func.count(), func.count(case((matched, 1)))).select_from(entries)).one()
        total, is_exact = total + images, is_exact and read < MOST_UNANSWERED
        if total >= MOST_UNANSWERED:
            return Count(total, is_exact=False)
    return Count(total, is_exact)


def _of_state(state: State, wanted: Wanted, names: set[str]) -> Select[Any]:
    """Select images of a state, in the order of an index, so that the database goes along it and stops."""
    index: tuple[Any, ...] = _STATE_ORDERS.get(state, (Screening.id,))
    # Not for what is in an index of its own: given a range of ids, SQLite would go along all images of it.
    run: Run = (*_lead_to(state), *(() if state in _RARE_STATES else wanted.days))
    if wanted.job is not None:
        index = (Screening.position,)
        run = (Screening.job_id == wanted.job.id, *run)
    columns = [getattr(Screening, name) for name in sorted(names | {"state"})]
    return select(*columns).where(*run).order_by(*index).limit(MOST_UNANSWERED)
