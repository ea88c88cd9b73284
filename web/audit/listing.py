"""List the audit trail: filters from a query string, one page, and the texts for actions and their subjects."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action
from shared.audit.trail import TrailFilters, read_events
from shared.audit.verify import Fault
from shared.tables import ApiToken, AuditEvent, Finding, Job, ReviewOutcome, Role, Screening, User
from web.base.paging import FilterError, Key, PageOf, large_whole, text, turn
from web.frame import words
from web.languages.text import N_, _, translate
from web.lists.kinds import read_day

ACTIONS: Final[dict[Action, str]] = {
    Action.SIGN_IN: N_("Signed in"),
    Action.SIGN_IN_REFUSED: N_("Sign-in refused"),
    Action.SIGN_OUT: N_("Signed out"),
    Action.SESSION_ENDED: N_("Ended a session"),
    Action.PASSWORD_CHANGED: N_("Changed a password"),
    Action.JOB_SUBMITTED: N_("Sent a job"),
    Action.IMAGES_ADDED: N_("Added X-rays to another account's job"),
    Action.JOB_CLOSED: N_("Ended the upload of another account's job"),
    Action.JOB_CANCELLED: N_("Cancelled a job"),
    Action.JOB_RETRIED: N_("Retried a job"),
    Action.JOB_DELETED: N_("Deleted a job"),
    Action.JOB_PURGED: N_("Purged a job"),
    Action.BACKUP_MADE: N_("Made a backup"),
    Action.BACKUP_RESTORED: N_("Restored a backup"),
    Action.IMAGE_VIEWED: N_("Viewed an X-ray"),
    Action.REVIEW_ADDED: N_("Reviewed an X-ray"),
    Action.REVIEW_WITHDRAWN: N_("Undid a review of an X-ray"),
    Action.SCORE_ASKED: N_("Asked for the score of a refused X-ray"),
    Action.HISTORY_EXPORTED: N_("Exported the history"),
    Action.REPORT_MADE: N_("Made a report to print"),
    Action.QUALITY_EXPORTED: N_("Exported quality figures"),
    Action.REVIEWS_READ: N_("Measured a model on reviews"),
    Action.THRESHOLD_CHANGED: N_("Changed a threshold"),
    Action.MODEL_ACTIVATED: N_("Changed the model of new jobs"),
    Action.SHADOW_CHANGED: N_("Changed the shadow model"),
    Action.VIEW_CHANGED: N_("Changed a view of the worklist"),
    Action.WEBHOOK_CHANGED: N_("Changed a webhook"),
    Action.EMAIL_CHANGED: N_("Changed e-mail settings"),
    Action.USER_CHANGED: N_("Changed an account"),
    Action.TOKEN_CHANGED: N_("Changed an API token"),
    Action.AUDIT_EXPORTED: N_("Exported the audit trail"),
    Action.AUDIT_VERIFIED: N_("Verified the audit trail"),
}
FILTERS: Final[dict[str, str]] = {
    "person": N_("Who"),
    "action": N_("What"),
    "since": N_("From (UTC)"),
    "until": N_("To (UTC)"),
    "subject": N_("Acted on"),
}
DETAILS: Final[dict[str, str]] = {
    "role": N_("role"),
    "language": N_("language"),
    "time_zone": N_("time zone"),
    "shortcuts": N_("shortcuts"),
    "job_finished": N_("job finished"),
    "image_flagged": N_("X-ray flagged"),
    "scope": N_("scope"),
    "format": N_("format"),
    "table": N_("table"),
    "order": N_("order"),
    "person": N_("who"),
    "action": N_("action"),
    "since": N_("from"),
    "until": N_("until"),
    "subject": N_("acted on"),
    "result": N_("result"),
    "head": N_("head"),
    "row": N_("row"),
    "fault": N_("fault"),
    "said": N_("finding of the check"),
    "outcome": N_("outcome"),
    "finding": N_("finding"),
    "purpose": N_("purpose"),
    "host": N_("host"),
    "model": N_("model"),
    "threshold": N_("threshold"),
    "before": N_("before"),
    "command": N_("command"),
    "images": N_("X-rays"),
    "backup_of": N_("backup of"),
}
"""Names of the details of a row; names of the filters of an export are shown as they are."""
_SWITCH: Final = {"on": N_("on"), "off": N_("off")}
VALUES: Final[dict[str, dict[str, str]]] = {
    "change": {
        "added": N_("added"),
        "added by single sign-on": N_("added by single sign-on"),
        "described": N_("name or e-mail changed"),
        "role": N_("role changed"),
        "role by single sign-on": N_("role changed by single sign-on"),
        "disabled": N_("disabled"),
        "enabled": N_("enabled"),
        "link": N_("one-time link made"),
        "single sign-on linked": N_("single sign-on linked"),
        "single sign-on unlinked": N_("single sign-on unlinked"),
        "revoked": N_("revoked"),
        "tested": N_("tested"),
        "paused": N_("paused"),
        "started": N_("started"),
        "secret": N_("secret renewed"),
        "deleted": N_("deleted"),
        "sent again": N_("sent again"),
        "chosen": N_("chosen"),
        "stopped": N_("stopped"),
    },
    "role": {role: words.ROLES[role] for role in Role},
    "outcome": {outcome: words.OUTCOMES[outcome] for outcome in ReviewOutcome},
    "finding": {finding: words.FINDINGS[finding] for finding in Finding},
    "purpose": {"preload": N_("fetched ahead by the browser")},
    "result": {"whole": N_("intact"), "broken": N_("broken")},
    "shortcuts": _SWITCH,
    "job_finished": _SWITCH,
    "image_flagged": _SWITCH,
}
"""Texts for values that the program writes itself; others are data and shown as they are."""
FAULTS: Final[dict[str, str]] = {
    Fault.EDITED: N_("Row %(row)s or a row before it was edited."),
    Fault.MISSING: N_("Rows were removed, the first of them row %(row)s."),
    Fault.INSERTED: N_("Rows were inserted, the first of them row %(row)s."),
    Fault.REORDERED: N_("Row %(row)s is out of its place."),
}

_SHORT: Final = 12  # digits of an id: in version 7 its end is random and its start a time

EventPage = PageOf[AuditEvent]

_NEWEST: Final = Key[AuditEvent]((AuditEvent.sequence,), (large_whole,), lambda event: (event.sequence,))


@dataclass(frozen=True)
class Subject:
    """What was acted on: its name on pages, and its address."""

    text: str
    address: str | None = None


def read_filters(args: Mapping[str, str]) -> TrailFilters:
    """Parse filters from a query string; an empty value is ignored. Raises FilterError."""
    given = {name: args[name].strip() for name in _READERS if args.get(name, "").strip()}
    filters = TrailFilters(**{name: _read(name, value) for name, value in given.items()})
    if filters.since and filters.until and filters.since > filters.until:
        said = _(
            "Give a day that is not after %(until)s. Received: '%(since)s'.", until=filters.until, since=filters.since
        )
        raise FilterError("since", said)
    return filters


_READERS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "person": (text, N_("Give the name of an account, or os:NAME for the command line. Received: '%(received)s'.")),
    "action": (Action, N_("Give one of %(choices)s. Received: '%(received)s'.")),
    "since": (read_day, N_("Give a day such as 2025-01-31. Received: '%(received)s'.")),
    "until": (read_day, N_("Give a day such as 2025-01-31. Received: '%(received)s'.")),
    "subject": (text, N_("Give the id of an X-ray, job, account or token. Received: '%(received)s'.")),
}


def _read(name: str, value: str) -> Any:
    read, refusal = _READERS[name]
    try:
        return read(value)
    except ValueError as error:
        raise FilterError(name, translate(refusal, choices=", ".join(Action), received=value)) from error


def list_events(session: Session, filters: TrailFilters, cursor: str | None, limit: int) -> EventPage:
    """Return one page of the trail, newest first. Raises FilterError for a bad cursor."""
    query = select(AuditEvent).where(*filters.conditions())
    return turn(lambda page: read_events(session, page), query, _NEWEST, cursor, limit)


def name_action(action: str) -> str:
    """Return the text for an action; a newer version may have written one that is unknown here."""
    return translate(ACTIONS[Action(action)]) if action in list(Action) else action


def name_detail(name: str) -> str:
    """Return the text for the name of a detail."""
    return translate(DETAILS[name]) if name in DETAILS else name


def name_value(name: str, value: str) -> str:
    """Return the text for the value of a detail, or the value itself where it is data."""
    known = VALUES.get(name, {})
    return translate(known[value]) if value in known else value


def say_fault(detail: Mapping[str, str]) -> str:
    """Describe the fault that a verification found; the trail holds the full finding in English."""
    if detail["row"] == "0" or detail["fault"] not in FAULTS:
        return _(
            "The head of the trail was edited or removed, so it is not known whether rows at the end were removed."
        )
    return translate(FAULTS[detail["fault"]], row=detail["row"])


def name_subjects(session: Session, events: Iterable[AuditEvent]) -> dict[str, Subject]:
    """Name the subjects of a page's rows, where they still exist."""
    ids = {found for event in events if event.subject and (found := _as_id(event.subject))}
    named: dict[uuid.UUID, Subject] = {}
    for id_, name in session.execute(select(User.id, User.name).where(User.id.in_(ids))):
        named[id_] = Subject(name, url_for("users.show", user_id=id_))
    tokens = select(ApiToken.id, ApiToken.name, User.name).join(User).where(ApiToken.id.in_(ids))
    for id_, name, owner in session.execute(tokens):
        named[id_] = Subject(_("%(token)s, of %(account)s", token=name, account=owner))
    for id_, name in session.execute(select(Job.id, Job.name).where(Job.id.in_(ids))):
        named[id_] = Subject(name, url_for("jobs.show", job_id=id_))
    for id_ in session.scalars(select(Screening.id).where(Screening.id.in_(ids))):
        named[id_] = Subject(_("X-ray %(id)s", id=_short(id_)), url_for("screenings.show", screening_id=id_))
    return {str(id_): named.get(id_) or Subject(_short(id_)) for id_ in ids}


def _short(id_: uuid.UUID) -> str:
    return id_.hex[-_SHORT:]


def _as_id(subject: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(subject)
    except ValueError:
        return None
