"""Accounts: users, passwords, one-time sign-in links and API tokens. Secrets are kept as hashes only."""

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from shared.db import new_id, now, row_count
from shared.errors import TranslatableError
from shared.tables import ApiToken, BrowserSession, Role, Scope, SignInLink, User

TOKEN_PREFIX: Final = "psc_"  # noqa: S105  # the mark by which scanners know a token
TOKEN_DAYS: Final = 90
TOKEN_SCOPES: Final = frozenset({Scope.READ, Scope.SUBMIT})
"""What `pneumoscreen screen` needs."""
LINK_HOURS: Final = 24
PASSWORD_LENGTH: Final = 12
"""NIST SP 800-63B asks for length, not for kinds of characters."""
LONGEST_PASSWORD: Final = 1024

_SHOWN: Final = 80
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Argon2id by OWASP's Password Storage Cheat Sheet: 19 MiB, two passes. The library's own 64 MiB would be half of what
# the web process may take.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class AccountRefused(TranslatableError):
    """Say why an account, password or token cannot be made or changed."""


def digest(secret: str) -> str:
    """Return what is kept of a secret that was made here: 256 random bits, for which a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_user(session: Session, name: str) -> User | None:
    """Return an account by name; None where there is none, or no account could have such a name."""
    # A name with NUL or half a character is an error to a database.
    return session.scalar(select(User).where(User.name == name)) if _NAME.fullmatch(name) else None


def get_user(session: Session, name: str) -> User:
    """Return an account by name; raise AccountRefused where there is none."""
    user = find_user(session, name)
    if user is None:
        raise AccountRefused("There is no account named %(name)s.", name=repr(name[:_SHOWN]))
    return user


def add_user(session: Session, name: str, role: Role, password: str | None = None) -> User:
    """Make an account; raise AccountRefused where the name is taken or malformed, or the password too short."""
    if not _NAME.fullmatch(name):
        raise AccountRefused(
            "A name has 1 to 64 letters, digits, dots, hyphens, underscores or @ signs. Received: %(name)s",
            name=repr(name[:_SHOWN]),
        )
    if find_user(session, name) is not None:
        raise AccountRefused("There is an account named '%(name)s' already.", name=name)
    user = User(id=new_id(), name=name, role=role, password_hash=_hash(password) if password else None)
    session.add(user)
    session.flush()
    return user


def set_password(session: Session, user: User, password: str) -> None:
    """Change a password and end every session and sign-in link of the account; its API tokens stay.

    Raises AccountRefused where its length is not taken.
    """
    user.password_hash = _hash(password)
    end_sessions(session, user)
    end_links(session, user)


def end_credentials(session: Session, user: User) -> None:
    """End all that was given out for an account so far but its password: sessions, sign-in links and API tokens."""
    end_sessions(session, user)
    end_links(session, user)
    revoke_tokens(session, user)


def end_sessions(session: Session, user: User, *, but: uuid.UUID | None = None) -> int:
    """Sign a person out of every browser, `but` one where it is named; return how many sessions that ended."""
    # What was changed of the account goes first and holds its row: a sign-in at the same moment waits, then sees it.
    session.flush()
    ended = delete(BrowserSession).where(BrowserSession.user_id == user.id, BrowserSession.id.is_distinct_from(but))
    return row_count(session.execute(ended))


def end_links(session: Session, user: User) -> None:
    """End every sign-in link of an account that was not used."""
    session.execute(delete(SignInLink).where(SignInLink.user_id == user.id, SignInLink.used_at.is_(None)))


def lock_active(session: Session, user_id: uuid.UUID) -> User | None:
    """Return an account as it is now, and hold it until the transaction ends; None where it may not sign in."""
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    return user if user is not None and user.is_active else None


def _hash(password: str) -> str:
    if not PASSWORD_LENGTH <= len(password) <= LONGEST_PASSWORD:
        most, length = f"{LONGEST_PASSWORD:,}", f"{len(password):,}"
        raise AccountRefused(
            "A password has %(least)s to %(most)s characters. Received: %(length)s.",
            least=PASSWORD_LENGTH,
            most=most,
            length=length,
        )
    if not _is_text(password):
        raise AccountRefused("A password is text in UTF-8. Received: bytes that are none.")
    return _hasher.hash(password)


def _is_text(given: str) -> bool:
    """Tell whether a text can be written in UTF-8; arguments of the command line may hold other bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in given)


@cache
def _decoy_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe())


def check_password(session: Session, name: str, password: str) -> User | None:
    """Return the active account that a name and password open; an unknown name takes as long as a wrong password."""
    user = find_user(session, name)
    known = user.password_hash if user is not None and user.password_hash else None
    if not _is_text(password):
        return None
    try:
        _hasher.verify(known or _decoy_hash(), password)
    except (VerificationError, InvalidHashError):
        return None
    return user if user is not None and known and user.is_active else None


def lock_opened(session: Session, opened: User, password: str) -> User | None:
    """Return the account that a password opened a moment ago, held; None where it does not open it any more."""
    user = lock_active(session, opened.id)
    if user is None or user.password_hash == opened.password_hash:
        return user
    return check_password(session, user.name, password)


def renew_hash(session: Session, user: User, password: str) -> None:
    """Hash a password that was just checked anew where its hash was made with other costs than today's."""
    if user.password_hash is None or not _hasher.check_needs_rehash(user.password_hash):
        return
    # Only over the hash that was checked: the password may have been changed since.
    present = update(User).where(User.id == user.id, User.password_hash == user.password_hash)
    session.execute(present.values(password_hash=_hasher.hash(password)))


def make_link(session: Session, user: User) -> str:
    """Make a one-time sign-in secret that lasts a day; raise AccountRefused where the account may not sign in."""
    _hold(session, user)
    secret = secrets.token_urlsafe(32)
    link = SignInLink(user_id=user.id, token_hash=digest(secret), expires_at=now() + timedelta(hours=LINK_HOURS))
    session.add(link)
    return secret


def use_link(session: Session, secret: str) -> User | None:
    """Spend a one-time secret and return its account, whose other links end; None where it is unknown, used or old."""
    wanted = (SignInLink.token_hash == digest(secret), SignInLink.used_at.is_(None), SignInLink.expires_at > now())
    owner = session.scalar(select(SignInLink.user_id).where(*wanted))
    user = lock_active(session, owner) if owner else None
    # Looked at once more now that the account is held: another of its links may have been used meanwhile.
    spent = update(SignInLink).where(*wanted).values(used_at=now()).execution_options(synchronize_session=False)
    if user is None or not row_count(session.execute(spent)):
        return None
    end_links(session, user)
    return user


def make_token(
    session: Session,
    user: User,
    name: str,
    *,
    scopes: Iterable[Scope] = TOKEN_SCOPES,
    days: int | None = TOKEN_DAYS,
    token_id: uuid.UUID | None = None,
) -> str:
    """Make an API token and return it; only its hash is kept.

    It ends after `days`, or not by itself where that is None. Raises AccountRefused where it has no scope, or the
    account may not sign in.
    """
    scope = " ".join(sorted(set(scopes)))
    if not scope:
        raise AccountRefused("A token needs at least one scope: %(scopes)s.", scopes=", ".join(Scope))
    _hold(session, user)
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires_at = now() + timedelta(days=days) if days else None
    token = ApiToken(user_id=user.id, name=name, token_hash=digest(secret), scope=scope, expires_at=expires_at)
    token.id = token_id or new_id()
    session.add(token)
    return secret


def _hold(session: Session, user: User) -> None:
    """Keep an account from being disabled while something is made that opens it."""
    held = select(User.id).where(User.id == user.id, User.is_active).with_for_update(read=True)
    if session.scalar(held) is None:
        raise AccountRefused("%(name)s may not sign in. Enable the account first.", name=user.name)


def find_token(session: Session, secret: str) -> ApiToken | None:
    """Return a token with its account; None where it is unknown, revoked or too old, or its account is not active."""
    query = select(ApiToken).options(joinedload(ApiToken.user)).where(ApiToken.token_hash == digest(secret))
    token = session.scalar(query)
    return token if token is not None and is_valid(token) and token.user.is_active else None


def is_valid(token: ApiToken) -> bool:
    """Tell whether a token opens anything still."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now())


def token_user(session: Session, secret: str) -> User | None:
    """Return the active account that a token opens."""
    token = find_token(session, secret)
    return token.user if token is not None else None


def revoke_token(session: Session, token_id: uuid.UUID) -> bool:
    """Revoke a token; False where there is none."""
    token = session.get(ApiToken, token_id)
    if token is None:
        return False
    token.revoked_at = token.revoked_at or now()
    return True


def valid_tokens(session: Session, user: User) -> list[ApiToken]:
    """Return the tokens of an account that open something still, the newest first."""
    mine = select(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    return [token for token in session.scalars(mine.order_by(ApiToken.id.desc())) if is_valid(token)]


def revoke_tokens(session: Session, user: User) -> int:
    """Revoke every token of an account; return how many that ended."""
    present = update(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    return row_count(session.execute(present.values(revoked_at=now())))
