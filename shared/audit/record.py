"""Write the audit trail: who did what to what, when and from where, without file names and patient data."""

import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from shared.audit import chain
from shared.db import READ_ONLY, WriteInRead, new_id, now


class Action(StrEnum):
    """The actions recorded in the trail."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    SESSION_ENDED = "session_ended"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # the name of an action
    JOB_SUBMITTED = "job_submitted"
    IMAGES_ADDED = "images_added"
    JOB_CLOSED = "job_closed"
    JOB_CANCELLED = "job_cancelled"
    JOB_RETRIED = "job_retried"
    JOB_DELETED = "job_deleted"
    JOB_PURGED = "job_purged"
    BACKUP_MADE = "backup_made"
    BACKUP_RESTORED = "backup_restored"
    IMAGE_VIEWED = "image_viewed"
    REVIEW_ADDED = "review_added"
    REVIEW_WITHDRAWN = "review_withdrawn"
    SCORE_ASKED = "score_asked"
    HISTORY_EXPORTED = "history_exported"
    REPORT_MADE = "report_made"
    QUALITY_EXPORTED = "quality_exported"
    REVIEWS_READ = "reviews_read"
    THRESHOLD_CHANGED = "threshold_changed"
    MODEL_ACTIVATED = "model_activated"
    SHADOW_CHANGED = "shadow_changed"
    VIEW_CHANGED = "view_changed"
    WEBHOOK_CHANGED = "webhook_changed"
    EMAIL_CHANGED = "email_changed"
    USER_CHANGED = "user_changed"
    TOKEN_CHANGED = "token_changed"  # noqa: S105  # the name of an action
    AUDIT_EXPORTED = "audit_exported"
    AUDIT_VERIFIED = "audit_verified"


_PENDING: Final = "audit_events"
_LONGEST: Final = 64


def record(
    session: Session,
    action: Action,
    *,
    user_id: uuid.UUID | None,
    subject: uuid.UUID | str | None = None,
    address: str | None = None,
    actor: str | None = None,
    detail: Mapping[str, str] | None = None,
) -> None:
    """Record a row in the caller's transaction, so that act and audit row are committed or rolled back together.

    `actor` names who acted where it was no account; an account's name is looked up. `detail` is whatever else a reader
    of the trail needs, such as the role given to an account. The row is written when the transaction commits.
    """
    if session.info.get(READ_ONLY):
        raise WriteInRead(f"Use Database.write(): the record of {action.value} would be lost.")
    values = {
        "id": new_id(),
        "created_at": now(),
        "user_id": user_id,
        "actor": _cut(actor),
        "action": action.value,
        "subject": _cut(None if subject is None else str(subject)),
        "address": _cut(address),
        "detail": dict(detail) if detail else None,
    }
    session.info.setdefault(_PENDING, []).append(values)


def _cut(text: str | None) -> str | None:
    return text[:_LONGEST] if text else None


@event.listens_for(Session, "before_commit")
def _append(session: Session) -> None:
    # Last of all, because appends are serialised: the head is locked only for the length of a commit, and never while
    # its holder waits for another row, so that no deadlock can occur.
    if session.in_nested_transaction() or _PENDING not in session.info:
        return
    session.flush()
    chain.append(session, session.info.pop(_PENDING))


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_PENDING, None)
