"""Filters and order of the list of jobs, from a query string."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import EnumType, StrEnum
from typing import Any, Final, Self

from sqlalchemy import ColumnElement, select

from shared.states import State
from shared.tables import Job, Screening, User, in_states
from web.base.paging import FilterError, Key, key, text, whole
from web.languages.text import N_, NC_, translate
from web.lists.listing import NEWEST_JOBS


class JobStage(StrEnum):
    """The stage of a job."""

    RECEIVING = "receiving"
    SCREENING = "screening"
    FINISHED = "finished"


class JobOrder(StrEnum):
    """The order of jobs."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LARGEST = "largest"


STAGES: Final[dict[JobStage, str]] = {
    JobStage.RECEIVING: N_("Receiving"),
    JobStage.SCREENING: NC_("a job", "Screening"),
    JobStage.FINISHED: N_("Finished"),
}
ORDERS: Final[dict[JobOrder, str]] = {
    JobOrder.NEWEST: N_("Newest first"),
    JobOrder.OLDEST: N_("Oldest first"),
    JobOrder.LARGEST: N_("Largest first"),
}
KEYS: Final[dict[JobOrder, Key[Job]]] = {
    JobOrder.NEWEST: NEWEST_JOBS,
    JobOrder.OLDEST: Key((Job.id,), (key,), lambda job: (job.id,), descending=False),
    JobOrder.LARGEST: Key((Job.next_position, Job.id), (whole, key), lambda job: (job.next_position, job.id)),
}


@dataclass(frozen=True)
class JobFilters:
    """Filter and order the list of jobs; None does not filter."""

    text: str | None = None
    by: str | None = None
    stage: JobStage | None = None
    order: JobOrder = JobOrder.NEWEST

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Parse filters from a query string; an empty value means none. Raises FilterError."""
        given = {name: args.get(name, "").strip() for name in _READERS}
        return cls(**{name: _read(name, value) for name, value in given.items() if value})

    def to_args(self) -> dict[str, str]:
        """Return the filters as query arguments."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in given.items() if value not in {None, JobOrder.NEWEST}}

    @property
    def is_narrow(self) -> bool:
        """Tell whether any jobs are filtered out."""
        return any((self.text, self.by, self.stage))

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the filters as SQL over `jobs`: a table of some ten thousand rows needs no index for them."""
        found: list[ColumnElement[bool]] = []
        if self.text is not None:
            found.append(Job.name.icontains(self.text, autoescape=True))
        if self.by is not None:
            found.append(Job.created_by_id.in_(select(User.id).where(User.name == self.by)))
        if self.stage is JobStage.RECEIVING:
            found.append(Job.closed_at.is_(None))
        if self.stage in {JobStage.SCREENING, JobStage.FINISHED}:
            # Bounded by the backlog, and in separate indexes.
            busy = Job.id.in_(select(Screening.job_id).where(in_states([State.QUEUED, State.RUNNING])))
            found += [Job.closed_at.is_not(None), busy if self.stage is JobStage.SCREENING else ~busy]
        return found


_ONE_OF: Final = N_("Give one of %(choices)s. Received: '%(received)s'.")
_READERS: Final[dict[str, tuple[Any, str]]] = {
    "text": (text, N_("Give a part of a job's name. Received: '%(received)s'.")),
    "by": (text, N_("Give the name of an account. Received: '%(received)s'.")),
    "stage": (JobStage, _ONE_OF),
    "order": (JobOrder, _ONE_OF),
}
NAMES: Final = {
    "text": N_("Name contains"),
    "by": N_("Sent by"),
    "stage": N_("State"),
    "order": N_("Order"),
    "cursor": N_("Page"),
}


def _read(name: str, value: str) -> Any:
    read, refusal = _READERS[name]
    try:
        return read(value)
    except ValueError as error:
        choices = ", ".join(read) if isinstance(read, EnumType) else ""
        raise FilterError(name, translate(refusal, choices=choices, received=value[:100])) from error
