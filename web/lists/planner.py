"""Query planner for lists of any length: choose the index for the filters by how many images it leads to.

Filters that many images match are found quickly along the list itself. Filters that few match use the index that leads
to these alone, anywhere in the list. The rest, such as a filter by name, is searched a bounded part at a time.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, select, true
from sqlalchemy.orm import Session

from shared.states import State
from shared.tables import Job, ReviewState, Screening, User
from web.base.paging import Place
from web.lists.filters import FILTERS, Filters, Order
from web.lists.readings import Reading, is_outside
from web.lists.runs import (
    OF_ID,
    OF_REVIEW,
    RARE_STATES,
    STATE_ORDERS,
    days_run,
    review_state_run,
    search_all,
    search_in_order,
    state_run,
    tests_of,
)
from web.lists.selective import find_candidates, search_candidates, search_selective
from web.lists.walker import Found, Run, Search, go_along, tally
from web.lists.wanted import BY_READER, Wanted, want

MOST_UNANSWERED: Final = 300
"""More images without a result are reported as "more" instead of counted."""

_PROBE: Final = 2000
"""Images of the list itself to scan before another way is tried."""
_NO_RESULT: Final = tuple(state for state in State if state is not State.DONE)


@dataclass(frozen=True)
class Count:
    """A number of images; a lower bound where it is not exact."""

    images: int
    is_exact: bool = True


def find(session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool = True) -> Found:
    """Find up to `size` images after a place of the list, nearest first, or before it where not `later`."""
    if not wanted.is_possible:
        return Found([])
    filters = wanted.filters
    if wanted.order is Order.UNREAD:
        return _find_unread_first(session, wanted, start, size, later=later)
    if any(FILTERS[name].find_candidates for name in filters.given):
        found = _find_among_candidates(session, wanted, start, size, later=later)
        if found is not None:
            return found
    if wanted.order is Order.NEWEST and wanted.job is not None and not filters.needs_result:
        return _find_in_job(session, wanted, wanted.job, start, size, later=later)
    if wanted.order is Order.NEWEST and wanted.job is None and (filters.needs_result or filters.state in RARE_STATES):
        probe = replace(search_all(wanted), most=_PROBE)
        found = go_along(session, [probe], start, size, later=later)
        if len(found.places) == size or found.reached is None:
            return found
    return go_along(session, list(_searches(session, wanted)), start, size, later=later)


def _find_unread_first(session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool) -> Found:
    """Search the parts of the worklist one after the other."""
    places: list[Place] = []
    for prefix, part, at in _parts_from(wanted, start, later=later):
        found = go_along(session, _searches_of(session, part), at, size - len(places), later=later)
        places += [(*prefix, *place) for place in found.places]
        if found.reached is not None:
            return Found(places, (*prefix, *found.reached))
        if len(places) == size:
            break
    return Found(places)


def count_worklist(session: Session, wanted: Wanted, start: Place | None, most: int, *, later: bool = True) -> Count:
    """Count the images of the worklist after a place, or before it; not exact above `most`."""
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
    """Yield the parts of the worklist from a place on: prefix of its places, its request, and where to start."""
    parts = _parts(wanted)
    for prefix, part in parts if later else parts[::-1]:
        rank = prefix[0]
        if start is None or (rank <= start[0] if later else rank >= start[0]):
            yield prefix, part, start[len(prefix) :] if start is not None and start[0] == rank else None


def _parts(wanted: Wanted) -> list[tuple[Place, Wanted]]:
    """Return the parts of the worklist in order, each with the prefix of its places."""
    if wanted.filters.review is Reading.OUTSIDE:
        return [((0, 0.0), replace(wanted, order=Order.NEWEST))]
    if wanted.is_blind_for is not None and wanted.filters.review is Reading.SECOND_READER:
        return [((0, 0.0), replace(wanted, order=Order.NEWEST, states=(ReviewState.SECOND_READER,)))]
    return [((rank,), part) for rank, part in wanted.parts()]


def _searches_of(session: Session, part: Wanted) -> list[Search]:
    """Choose the searches for one part of the worklist."""
    if part.order is Order.NEWEST:
        return [_search_second_reader(part) if part.states else _search_outside(session, part)]
    candidates = search_candidates(session, part)
    return [candidates] if candidates is not None else list(_searches(session, part))


def _search_outside(session: Session, wanted: Wanted) -> Search:
    """Scan what the gate refused, newest first: it has no suspicion."""
    run = (is_outside(Screening), *days_run(wanted))
    return search_candidates(session, wanted) or Search((run,), tests_of(wanted, "review", "ids of the days"), OF_ID)


def _search_second_reader(wanted: Wanted) -> Search:
    """Read what waits for a second reader, newest first: a blind reader may not see which is more suspicious."""
    run = review_state_run(wanted, ReviewState.SECOND_READER)
    by = (Screening.p_pneumonia, Screening.id)
    return Search((run,), tests_of(wanted, "latest", "review state", "review"), OF_REVIEW, sorted_by=by)


def _find_among_candidates(
    session: Session, wanted: Wanted, start: Place | None, size: int, *, later: bool
) -> Found | None:
    """Find images among the candidates of a filter; None where those are not few.

    In the order newest first, part of the list is scanned before: a common name is found there at once.
    """
    in_order = search_in_order(wanted)
    if wanted.order is Order.NEWEST and wanted.job is None:
        found = go_along(session, [replace(in_order, most=_PROBE)], start, size, later=later)
        if len(found.places) == size or found.reached is None:
            return found
    search = search_candidates(session, wanted)
    return go_along(session, [search], start, size, later=later) if search is not None else None


def holds(session: Session, wanted: Wanted, screening_id: uuid.UUID) -> bool:
    """Tell whether the worklist contains an image."""
    if not wanted.is_possible:
        return False
    image = select(Screening.id).where(Screening.id == screening_id)
    return any(
        session.scalar(image.where(*[test.of(Screening) for test in tests_of(part)])) for _, part in _parts(wanted)
    )


def tests_reviews_of_rows(session: Session, wanted: Wanted) -> bool:
    """Tell whether rows are tested one by one for who reviewed them, because the account has too many reviews."""
    filters = wanted.filters
    by_reader = filters.review in BY_READER or filters.reviewed_by is not None
    return by_reader and find_candidates(session, wanted) is None


def _find_in_job(session: Session, wanted: Wanted, job: Job, start: Place | None, size: int, *, later: bool) -> Found:
    """Find images of one job, newest first: later positions arrived later."""
    at = _positions(session, job, Screening.id, [start[0]]) if start is not None else {}
    state = () if wanted.filters.state is None else state_run(wanted.filters.state)
    run = (Screening.job_id == job.id, *state)
    search = Search((run,), tests_of(wanted, "job", "state"), key=(Screening.position,))
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
    """Choose between a selective filter and the order of the list, if need be for each label separately."""
    by_label = wanted.filters.has_confidence and wanted.order is Order.NEWEST and wanted.job is None
    for part in [replace(wanted, labels=(label,)) for label in wanted.labels] if by_label else [wanted]:
        in_order = search_in_order(part)
        yield search_selective(session, part, in_order) or in_order


def count_unanswered(session: Session, viewer: User, filters: Filters) -> Count:
    """Count the filtered images without a prediction, among the first MOST_UNANSWERED of each state."""
    wanted = want(session, viewer, filters, Order.NEWEST)
    if filters.needs_result or not wanted.is_possible:
        return Count(0)
    counted = tests_of(wanted, "state", "job")
    names = {name for test in counted for name in test.columns}
    total, is_exact = 0, True
    for state in _NO_RESULT if filters.state is None else (filters.state,):
        entries = _select_state(state, wanted, names).subquery()
        matched = and_(true(), *[test.of(entries.c) for test in counted])
        read, images = session.execute(select(func.count(), func.count(case((matched, 1)))).select_from(entries)).one()
        total, is_exact = total + images, is_exact and read < MOST_UNANSWERED
        if total >= MOST_UNANSWERED:
            return Count(total, is_exact=False)
    return Count(total, is_exact)


def _select_state(state: State, wanted: Wanted, names: set[str]) -> Select[Any]:
    """Select images of a state in the order of an index, so that the database can stop early."""
    index: tuple[Any, ...] = STATE_ORDERS.get(state, (Screening.id,))
    # Not for states with their own index: given a range of ids, SQLite would scan all images in it.
    run: Run = (*state_run(state), *(() if state in RARE_STATES else days_run(wanted)))
    if wanted.job is not None:
        index = (Screening.position,)
        run = (Screening.job_id == wanted.job.id, *run)
    columns = [getattr(Screening, name) for name in sorted(names | {"state"})]
    return select(*columns).where(*run).order_by(*index).limit(MOST_UNANSWERED)
