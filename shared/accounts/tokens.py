"""API tokens: create, find and revoke them. Only their hashes are stored."""

import secrets
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from shared.accounts.digests import digest
from shared.accounts.refusal import AccountRefused
from shared.accounts.users import hold_active
from shared.db import new_id, now, row_count
from shared.tables import ApiToken, Scope, User

TOKEN_PREFIX: Final = "psc_"  # noqa: S105  # the mark by which scanners know a token
TOKEN_DAYS: Final = 90
TOKEN_SCOPES: Final = frozenset({Scope.READ, Scope.SUBMIT})
"""What `pneumoscreen screen` needs."""


def make_token(
    session: Session,
    user: User,
    name: str,
    *,
    scopes: Iterable[Scope] = TOKEN_SCOPES,
    days: int | None = TOKEN_DAYS,
    token_id: uuid.UUID | None = None,
) -> str:
    """Create an API token and return it; only its hash is stored.

    It expires after `days`, or never where that is None. Raises AccountRefused where it has no scope, or the account
    may not sign in.
    """
    scope = " ".join(sorted(set(scopes)))
    if not scope:
        raise AccountRefused("A token needs at least one scope: %(scopes)s.", scopes=", ".join(Scope))
    hold_active(session, user)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = now() + timedelta(days=days) if days else None
    token = ApiToken(user_id=user.id, name=name, token_hash=digest(secret), scope=scope, expires_at=expires_at)
    token.id = token_id or new_id()
    session.add(token)
    return secret


def find_token(session: Session, secret: str) -> ApiToken | None:
    """Return a token with its account; None where it is unknown, revoked or expired, or its account is not active."""
    query = select(ApiToken).options(joinedload(ApiToken.user)).where(ApiToken.token_hash == digest(secret))
    token = session.scalar(query)
    return token if token is not None and is_valid(token) and token.user.is_active else None


def is_valid(token: ApiToken) -> bool:
    """Tell whether a token is still valid."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now())


def token_user(session: Session, secret: str) -> User | None:
    """Return the active account of a valid token."""
    token = find_token(session, secret)
    return token.user if token is not None else None


def valid_tokens(session: Session, user: User) -> list[ApiToken]:
    """Return the valid tokens of an account, newest first."""
    mine = select(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    return [token for token in session.scalars(mine.order_by(ApiToken.id.desc())) if is_valid(token)]


def revoke_token(session: Session, token_id: uuid.UUID) -> bool:
    """Revoke a token; return False where there is none."""
    token = session.get(ApiToken, token_id)
    if token is None:
        return False
    token.revoked_at = token.revoked_at or now()
    return True


def revoke_tokens(session: Session, user: User) -> int:
    """Revoke every token of an account; return how many were revoked."""
    present = update(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    return row_count(session.execute(present.values(revoked_at=now())))
