"""The audit trail: who did what to what, when and from where. No file name and no patient data goes in."""

import uuid
from enum import StrEnum

from sqlalchemy.orm import Session

from shared.tables import AuditEvent


class Action(StrEnum):
    """What leaves a row."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # the name of an action
    JOB_SUBMITTED = "job_submitted"
    JOB_CANCELLED = "job_cancelled"
    JOB_RETRIED = "job_retried"
    FILM_VIEWED = "film_viewed"
    HISTORY_EXPORTED = "history_exported"
    USER_CHANGED = "user_changed"
    TOKEN_CHANGED = "token_changed"  # noqa: S105  # the name of an action


def record(
    session: Session,
    action: Action,
    *,
    user_id: uuid.UUID | None,
    subject: uuid.UUID | str | None = None,
    address: str | None = None,
) -> None:
    """Add a row in the caller's transaction, so that the act and its trace stand or fall together."""
    subject = None if subject is None else str(subject)
    session.add(AuditEvent(user_id=user_id, action=action.value, subject=subject, address=address))
