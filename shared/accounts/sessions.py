"""Browser sessions, stored as rows, so that each can be listed and ended; after sign-out a copied cookie is useless."""

import secrets
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.orm import Session, joinedload

from shared.accounts.digests import digest
from shared.accounts.refusal import AccountRefused
from shared.db import now, row_count
from shared.tables import BrowserSession, User

NOTED_EVERY: Final = timedelta(minutes=1)
"""How often use of a session is recorded; more often would turn every read into a write."""

_ADDRESS_LENGTH: Final = 64
_USER_AGENT_LENGTH: Final = 256


def begin(session: Session, user: User, *, lasts: timedelta, address: str | None, user_agent: str) -> str:
    """Begin a session and return its secret; only the hash is stored. Expired sessions are deleted.

    Raises AccountRefused where the account may no longer sign in.
    """
    present = update(User).where(User.id == user.id, User.is_active).values(last_sign_in_at=now())
    if not row_count(session.execute(present)):
        raise AccountRefused("%(name)s may not sign in.", name=user.name)
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now()))
    secret = secrets.token_urlsafe(32)
    row = BrowserSession(
        user_id=user.id,
        token_hash=digest(secret),
        address=address[:_ADDRESS_LENGTH] if address else None,
        user_agent=user_agent[:_USER_AGENT_LENGTH],
        expires_at=now() + lasts,
    )
    session.add(row)
    return secret


def find(session: Session, secret: str, idle: timedelta) -> BrowserSession | None:
    """Return a session with its account; None where it ended, expired, or was unused for longer than `idle`."""
    query = select(BrowserSession).options(joinedload(BrowserSession.user))
    row = session.scalar(query.where(BrowserSession.token_hash == digest(secret), _is_live(idle)))
    return row if row is not None and row.user.is_active else None


def note_use(session: Session, row: BrowserSession) -> None:
    """Record that a session is in use."""
    session.execute(update(BrowserSession).where(BrowserSession.id == row.id).values(last_seen_at=now()))


def list_sessions(session: Session, user: User, idle: timedelta) -> list[BrowserSession]:
    """Return the live sessions of an account, the most recently used first."""
    query = select(BrowserSession).where(BrowserSession.user_id == user.id, _is_live(idle))
    return list(session.scalars(query.order_by(BrowserSession.last_seen_at.desc(), BrowserSession.id.desc())))


def count_live(session: Session, user_ids: Collection[uuid.UUID], idle: timedelta) -> dict[uuid.UUID, int]:
    """Count the live sessions of these accounts; an account without any is left out."""
    live = select(BrowserSession.user_id, func.count()).where(BrowserSession.user_id.in_(user_ids), _is_live(idle))
    return {row[0]: row[1] for row in session.execute(live.group_by(BrowserSession.user_id))}


def end(session: Session, user: User, session_id: uuid.UUID) -> bool:
    """End one session of an account; return False where it has none with this id."""
    ended = delete(BrowserSession).where(BrowserSession.id == session_id, BrowserSession.user_id == user.id)
    return row_count(session.execute(ended)) > 0


def end_all(session: Session, user: User, *, but: uuid.UUID | None = None) -> int:
    """Sign a person out of every browser, except session `but` where given; return how many sessions ended."""
    # Pending changes of the account are written first, which locks its row: a concurrent sign-in waits, then sees them.
    session.flush()
    ended = delete(BrowserSession).where(BrowserSession.user_id == user.id, BrowserSession.id.is_distinct_from(but))
    return row_count(session.execute(ended))


def _is_live(idle: timedelta) -> ColumnElement[bool]:
    present = now()
    return and_(BrowserSession.expires_at > present, BrowserSession.last_seen_at > present - idle)
