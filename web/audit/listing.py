"""Lists of the audit trail: filters from a query string, one page, and the words for what was done to what."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action
from shared.audit.trail import TrailFilters, read_events
from shared.tables import ApiToken, AuditEvent, Job, Screening, User
from web.base.paging import FilterError, Key, PageOf, large_whole, text, turn
from web.lists.kinds import read_day

ACTIONS: Final[dict[Action, str]] = {
    Action.SIGN_IN: "Signed in",
    Action.SIGN_IN_REFUSED: "Sign-in refused",
    Action.SIGN_OUT: "Signed out",
    Action.SESSION_ENDED: "Ended a session",
    Action.PASSWORD_CHANGED: "Changed a password",
    Action.JOB_SUBMITTED: "Sent a job",
    Action.JOB_CANCELLED: "Cancelled a job",
    Action.JOB_RETRIED: "Retried a job",
    Action.JOB_DELETED: "Deleted a job",
    Action.JOB_PURGED: "Purged a job",
    Action.BACKUP_MADE: "Made a backup",
    Action.BACKUP_RESTORED: "Restored a backup",
    Action.IMAGE_VIEWED: "Viewed an X-ray",
    Action.REVIEW_ADDED: "Reviewed an X-ray",
    Action.REVIEW_WITHDRAWN: "Undid a review of an X-ray",
    Action.SCORE_ASKED: "Asked for a score despite the gate",
    Action.HISTORY_EXPORTED: "Exported the history",
    Action.REPORT_MADE: "Made a report to print",
    Action.QUALITY_EXPORTED: "Exported quality figures",
    Action.REVIEWS_READ: "Measured a model on reviews",
    Action.THRESHOLD_CHANGED: "Changed a threshold",
    Action.VIEW_CHANGED: "Changed a view of the worklist",
    Action.WEBHOOK_CHANGED: "Changed a webhook",
    Action.USER_CHANGED: "Changed an account",
    Action.TOKEN_CHANGED: "Changed an API token",
    Action.BACKUP_MADE: "Made a backup",
    Action.BACKUP_RESTORED: "Restored a backup",
    Action.AUDIT_EXPORTED: "Exported the audit trail",
    Action.AUDIT_VERIFIED: "Verified the audit trail",
}
FILTERS: Final[dict[str, str]] = {
    "person": "Who",
    "action": "What",
    "since": "From (UTC)",
    "until": "To (UTC)",
    "subject": "Acted on",
}

_SHORT: Final = 12  # of an id: in version 7 its end is random and its start a time

EventPage = PageOf[AuditEvent]

_NEWEST: Final = Key[AuditEvent]((AuditEvent.sequence,), (large_whole,), lambda event: (event.sequence,))


@dataclass(frozen=True)
class Subject:
    """What was acted on, as a page names it, and where it is shown."""

    text: str
    address: str | None = None


def read_filters(args: Mapping[str, str]) -> TrailFilters:
    """Read filters from a query string; an empty value is none. Raises FilterError."""
    given = {name: args[name].strip() for name in _READERS if args.get(name, "").strip()}
    filters = TrailFilters(**{name: _read(name, value) for name, value in given.items()})
    if filters.since and filters.until and filters.since > filters.until:
        raise FilterError("since", f"Give a day that is not after {filters.until}. Received: '{filters.since}'.")
    return filters


_READERS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "person": (text, "the name of an account, or os:NAME for the command line"),
    "action": (Action, "one of " + ", ".join(Action)),
    "since": (read_day, "a day such as 2025-01-31"),
    "until": (read_day, "a day such as 2025-01-31"),
    "subject": (text, "the id of an X-ray, job, account or token"),
}


def _read(name: str, value: str) -> Any:
    read, form = _READERS[name]
    try:
        return read(value)
    except ValueError as error:
        raise FilterError(name, f"Give {form}. Received: '{value}'.") from error


def list_events(session: Session, filters: TrailFilters, cursor: str | None, limit: int) -> EventPage:
    """Return one page of the trail, newest first. Raises FilterError for a bad cursor."""
    query = select(AuditEvent).where(*filters.conditions())
    return turn(lambda page: read_events(session, page), query, _NEWEST, cursor, limit)


def name_action(action: str) -> str:
    """Return the words for an action; a newer version may have written one that is not known here."""
    return ACTIONS[Action(action)] if action in list(Action) else action


def name_subjects(session: Session, events: Iterable[AuditEvent]) -> dict[str, Subject]:
    """Name what the rows of a page were about, where it is still there."""
    ids = {found for event in events if event.subject and (found := _as_id(event.subject))}
    named: dict[uuid.UUID, Subject] = {}
    for id_, name in session.execute(select(User.id, User.name).where(User.id.in_(ids))):
        named[id_] = Subject(name, url_for("users.show", user_id=id_))
    tokens = select(ApiToken.id, ApiToken.name, User.name).join(User).where(ApiToken.id.in_(ids))
    for id_, name, owner in session.execute(tokens):
        named[id_] = Subject(f"{name}, of {owner}")
    for id_, name in session.execute(select(Job.id, Job.name).where(Job.id.in_(ids))):
        named[id_] = Subject(name, url_for("jobs.show", job_id=id_))
    for id_ in session.scalars(select(Screening.id).where(Screening.id.in_(ids))):
        named[id_] = Subject(f"X-ray {_short(id_)}", url_for("screenings.show", screening_id=id_))
    return {str(id_): named.get(id_) or Subject(_short(id_)) for id_ in ids}


def _short(id_: uuid.UUID) -> str:
    return id_.hex[-_SHORT:]


def _as_id(subject: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(subject)
    except ValueError:
        return None
