"""Find the few images of a selective filter: by their candidate ids, or by the filter's own index."""

import uuid
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db import READ_ONLY
from shared.tables import Screening
from web.lists.filters import FILTERS, Order
from web.lists.runs import (
    OF_MODEL,
    OF_OWNER,
    OF_RESULT,
    RARE_STATES,
    STATE_ORDERS,
    days_run,
    job_runs,
    label_and_model_runs,
    search_in_order,
    state_run,
    suspicion_runs,
    tests_of,
)
from web.lists.shortlist import among
from web.lists.walker import MOST_SCATTERED, Run, Search
from web.lists.wanted import Wanted

MOST_SORTED: Final = 12_000
"""This many images are read and sorted in some 20 ms."""
LARGEST_JOB: Final = 100_000
"""The most images of a job that are sorted by age, for which there is no index."""

_CANDIDATES: Final = "candidates"
"""Key in `Session.info` of the filters' candidate ids."""


def find_candidates(session: Session, wanted: Wanted) -> list[uuid.UUID] | None:
    """Return the ids of all screenings that one filter can match, if they are few; None where no filter is selective.

    A read-only transaction runs the query once.
    """
    known: dict[Any, list[uuid.UUID] | None] = (
        session.info.setdefault(_CANDIDATES, {}) if READ_ONLY in session.info else {}
    )
    for name, value in wanted.filters.given.items():
        find, asked = FILTERS[name].find_candidates, (name, value, wanted.viewer.id)
        if find is not None and asked not in known:
            known[asked] = find(session, value, wanted.viewer)
        if known.get(asked) is not None:
            return known[asked]
    return None


def search_candidates(session: Session, wanted: Wanted) -> Search | None:
    """Read the candidates of a filter and sort them; None where there are none or too many."""
    candidates = find_candidates(session, wanted)
    if candidates is None:
        return None
    run = (among(candidates, session.get_bind().dialect.name == "sqlite"),)
    return Search((run,), tests_of(wanted), sorted_by=(Screening.id,), key=search_in_order(wanted).key)


@dataclass(frozen=True)
class _SelectiveFilter:
    """A filter with its own index, in another order than the list."""

    name: str
    """Name of its test."""
    runs: list[Run]
    index: tuple[Any, ...]
    """The columns that order its index."""
    implied: AbstractSet[str]
    """The tests that all images of the runs pass."""
    indexed: frozenset[str] | None = None
    """Columns in its index; None where rows are stored together, so that it is best to read them at once."""


def search_selective(session: Session, wanted: Wanted, in_order: Search) -> Search | None:
    """Read and sort the few images in the index of a selective filter, instead of scanning the list.

    None where no filter leaves few, or where scanning the list needs no tests.
    """
    filters, job, key = wanted.filters, wanted.job, in_order.key
    left = {test.name for test in in_order.tests}
    if wanted.order is Order.SUSPICIOUS:
        left -= {"confidence", "min_suspicion", "max_suspicion"}  # the runs already match these, except for rounding
    if not left:
        return None
    if job is not None and wanted.order is Order.NEWEST and job.next_position <= LARGEST_JOB:
        by = (Screening.label, Screening.p_pneumonia, Screening.id)
        return Search(job_runs(wanted), tests_of(wanted, "job", "label", "state"), OF_RESULT, sorted_by=by)
    if job is not None and wanted.order is Order.SUSPICIOUS and job.next_position <= MOST_SORTED:
        of_job = (Screening.job_id == job.id,)
        return Search((of_job,), tests_of(wanted, "job"), sorted_by=(Screening.position,), key=key)
    if filters.state in RARE_STATES:
        state_order = STATE_ORDERS[filters.state]
        return Search((state_run(filters.state),), tests_of(wanted, "state"), OF_OWNER, sorted_by=state_order)
    for selective in _selective_filters(wanted, left):
        is_scattered = selective.indexed is not None and (filters.text is not None or bool(wanted.states))
        most = MOST_SCATTERED if is_scattered else MOST_SORTED
        if selective.name in left and _count_entries(session, selective, most + 1) <= most:
            tests_left = tests_of(wanted, *selective.implied)
            return Search(tuple(selective.runs), tests_left, selective.indexed, sorted_by=selective.index, key=key)
    return None


def _selective_filters(wanted: Wanted, left: AbstractSet[str]) -> Iterator[_SelectiveFilter]:
    filters = wanted.filters
    index: tuple[Any, ...]
    if filters.text is not None:  # where no index of names helps, so that a short list is searched completely
        if wanted.order is Order.NEWEST:
            yield _SelectiveFilter("text", [()], (Screening.id,), set())
        else:
            index = (Screening.label, Screening.p_pneumonia, Screening.id)
            yield _SelectiveFilter("text", suspicion_runs(wanted), index, {"label"})
    if wanted.owner is not None:
        yield _SelectiveFilter("owner", [(Screening.created_by_id == wanted.owner,)], (Screening.id,), {"owner"})
    if filters.bounds_p:
        index = (Screening.label, Screening.p_pneumonia, Screening.id)
        names = ("confidence", "min_suspicion", "max_suspicion")
        name = next((name for name in names if name in left), names[0])
        yield _SelectiveFilter(name, suspicion_runs(wanted), index, {"label", "state"}, OF_MODEL)
    if wanted.order is Order.SUSPICIOUS and filters.has_days:
        yield _SelectiveFilter("days", [days_run(wanted)], (Screening.id,), {"ids of the days"})
    if wanted.order is Order.SUSPICIOUS and filters.model is not None:
        index = (Screening.label, Screening.model_id, Screening.id)
        yield _SelectiveFilter("model", label_and_model_runs(wanted), index, {"label", "model", "state"}, OF_MODEL)


def _count_entries(session: Session, selective: _SelectiveFilter, most: int) -> int:
    total = 0
    for run in selective.runs:
        entries = select(Screening.id).where(*run).order_by(*selective.index).limit(most - total).subquery()
        total += session.scalar(select(func.count()).select_from(entries)) or 0
        if total >= most:
            break
    return total
