"""Translate a list request to SQL: the runs of screenings' indexes to scan, and the tests that remain."""

from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, and_

from shared.models.spec import Label
from shared.reviews.blind import is_hidden_from
from shared.states import State
from shared.tables import ReviewState, Screening, in_states
from web.lists.conditions import Test, day_ids, p_range, tests
from web.lists.filters import Order
from web.lists.walker import Run, Search
from web.lists.wanted import BY_READER, Wanted

RARE_STATES: Final = (State.QUEUED, State.RUNNING)
"""Bounded by the backlog, and in separate indexes, which have another order."""
STATE_ORDERS: Final = {
    State.QUEUED: (Screening.priority, Screening.turn, Screening.id),
    State.RUNNING: (Screening.lease_until,),
}
"""The columns that order the indexes of the rare states."""

# The columns in the indexes of screenings.
OF_ID: Final = frozenset({"id"})
OF_OWNER: Final = OF_ID | {"created_by_id"}
OF_RESULT: Final = OF_ID | {"label", "p_pneumonia"}
OF_MODEL: Final = OF_RESULT | {"created_by_id", "model_id"}
OF_REVIEW: Final = OF_MODEL | {"review_state"}

_SUSPICION: Final = (Screening.p_pneumonia, Screening.id)


def tests_of(wanted: Wanted, *but: str) -> tuple[Test, ...]:
    """Return the tests of an image, except those that its index ensures."""
    every = list(tests(wanted.filters, wanted.viewer, wanted.models if wanted.filters.model else None))
    if wanted.owner is not None:
        every.append(Test("owner", ("created_by_id",), lambda screening: screening.created_by_id == wanted.owner))
    if wanted.states:
        every.append(Test("latest", ("is_latest", "label"), _is_listed))
        every.append(
            Test("review state", ("review_state",), lambda screening: screening.review_state.in_(wanted.states))
        )
    if wanted.is_blind_for is not None and wanted.shows_predictions:
        # Images whose hidden prediction the list would reveal, by position or membership, are left out.
        reader = wanted.is_blind_for
        columns = ("image_id", "review_state")
        every.append(Test("blind", columns, lambda screening: ~is_hidden_from(reader, screening)))
    if len(wanted.labels) == 1:
        every.append(Test("label", ("label",), lambda screening: screening.label == wanted.labels[0]))
    return tuple(test for test in every if test.name not in but)


def _is_listed(screening: Any) -> ColumnElement[bool]:
    """Match the one screening of an image that the worklist shows."""
    return and_(screening.is_latest, screening.label.is_not(None))


def label_and_model_runs(wanted: Wanted) -> list[Run]:
    """Return the run of each label of each model."""
    pairs = product(wanted.labels, wanted.models)
    return [(Screening.label == label, Screening.model_id == model) for label, model in pairs]


def days_run(wanted: Wanted) -> Run:
    """Return the run of the days, by the time in an image's id."""
    return tuple(day_ids(wanted.filters, Screening.id))


def job_runs(wanted: Wanted) -> tuple[Run, ...]:
    """Return the run of each label of the job."""
    job = () if wanted.job is None else (Screening.job_id == wanted.job.id,)
    return tuple((*job, *run) for run in suspicion_runs(wanted))


def suspicion_runs(wanted: Wanted) -> list[Run]:
    """Return the run of each label, within the range of its confidences."""
    return [_suspicion_run(wanted, label) for label in wanted.labels]


def _suspicion_run(wanted: Wanted, label: Label) -> Run:
    if not wanted.filters.bounds_p:
        return (Screening.label == label,)
    low, high = p_range(wanted.filters, label)
    return (Screening.label == label, Screening.p_pneumonia >= low, Screening.p_pneumonia <= high)


def review_state_run(wanted: Wanted, state: ReviewState) -> Run:
    """Return the run of a review state in the worklist, within the range of p(pneumonia)."""
    run: Run = (_is_listed(Screening), Screening.review_state == state)
    if not wanted.filters.bounds_p:
        return run
    ranges = [p_range(wanted.filters, label) for label in wanted.labels]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (*run, Screening.p_pneumonia >= low, Screening.p_pneumonia <= high)


def state_run(state: State) -> Run:
    """Return the run of a state; held images have a lease, which the condition states so that SQLite uses its index."""
    held = (Screening.lease_until.is_not(None),) if state is State.RUNNING else ()
    return (in_states([state]), *held)


def search_all(wanted: Wanted) -> Search:
    """Scan all images that may be seen, newest first."""
    left = tests_of(wanted, "owner", "ids of the days")
    if wanted.owner is None:
        return Search((days_run(wanted),), left)
    return Search(((Screening.created_by_id == wanted.owner, *days_run(wanted)),), left, OF_ID)


def search_in_order(wanted: Wanted) -> Search:
    """Scan the index in list order that is the most selective for the filters."""
    filters = wanted.filters
    runs: list[Run]
    if wanted.order is Order.SUSPICIOUS and wanted.job is not None:
        return Search(job_runs(wanted), tests_of(wanted, "job", "label", "state"), OF_RESULT, key=_SUSPICION)
    if wanted.states:
        runs = [review_state_run(wanted, state) for state in wanted.states]
        seen_to = {"latest", "review state", "state"} | ({"review"} if filters.review not in BY_READER else set())
        return Search(tuple(runs), tests_of(wanted, *seen_to), OF_REVIEW, key=_SUSPICION)
    if wanted.order is Order.SUSPICIOUS:
        return Search(tuple(suspicion_runs(wanted)), tests_of(wanted, "label", "state"), OF_MODEL, key=_SUSPICION)
    if filters.needs_result:
        runs = [(*run, *days_run(wanted)) for run in label_and_model_runs(wanted)]
        return Search(tuple(runs), tests_of(wanted, "label", "model", "state", "ids of the days"), OF_MODEL)
    if filters.state is not None and filters.state not in RARE_STATES:
        runs = [(*state_run(filters.state), *days_run(wanted))]
        return Search(tuple(runs), tests_of(wanted, "state", "ids of the days"), OF_OWNER)
    return search_all(wanted)
