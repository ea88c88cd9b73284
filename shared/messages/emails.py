"""E-mails: find who is notified of which event, and why somebody is not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.email_addresses import to_ascii
from shared.messages.problems import Problem
from shared.tables import Message, MessageEvent, Role, User

TOLD_OF_FLAGS: Final = (Role.READER, Role.ADMIN)
"""The roles that may see the X-rays of others."""
TESTS_AN_HOUR: Final = 5
"""Test e-mails per hour: enough to find a fault, too few to bother anybody."""


def has_readers(session: Session) -> bool:
    """Tell whether anybody may want an e-mail when an image is flagged; checked with every micro-batch."""
    return session.scalar(select(User.id).where(User.emails_image_flagged).limit(1)) is not None


def readers_to_write_to(session: Session) -> Sequence[User]:
    """Return and lock the accounts that want an e-mail when an image is flagged."""
    wanted = (User.emails_image_flagged, User.role.in_(TOLD_OF_FLAGS))
    return _held(session, *wanted)


def sender_to_write_to(session: Session, sender: ColumnElement[bool]) -> User | None:
    """Return the account that sent a job if it wants an e-mail when the job ends."""
    return next(iter(_held(session, sender, User.emails_job_finished)), None)


def _held(session: Session, *wanted: Any) -> Sequence[User]:
    # Locked like webhooks: deletion before the commit would make the insert fail, and with it the whole transaction.
    query = select(User).where(*wanted, User.is_active, User.email.is_not(None)).order_by(User.id)
    return session.scalars(query.with_for_update(read=True, key_share=True)).all()


def may_test(session: Session, user: User) -> bool:
    """Tell whether an account may get another test e-mail this hour."""
    lately = (Message.user_id == user.id, Message.created_at > now() - timedelta(hours=1))
    tests = select(func.count()).select_from(Message).where(*lately, Message.event == MessageEvent.TEST)
    return (session.scalar(tests) or 0) < TESTS_AN_HOUR


def why_not(user: User, event: MessageEvent) -> Problem | None:
    """Say why an account gets no e-mail of an event now; None where it does."""
    if not user.is_active:
        return Problem.DISABLED
    if to_ascii(user.email or "") is None:
        return Problem.NO_ADDRESS
    wants = {
        MessageEvent.JOB_FINISHED: user.emails_job_finished,
        MessageEvent.IMAGE_FLAGGED: user.emails_image_flagged and user.role in TOLD_OF_FLAGS,
        MessageEvent.TEST: True,
    }
    return None if wants[event] else Problem.NOT_WANTED
