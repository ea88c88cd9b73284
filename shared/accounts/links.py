"""One-time sign-in links: create, use and end them. Only their hashes are stored."""

import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.accounts.digests import digest
from shared.accounts.users import hold_active, lock_active
from shared.db import now, row_count
from shared.tables import SignInLink, User

LINK_HOURS: Final = 24


def make_link(session: Session, user: User) -> str:
    """Create a one-time sign-in secret that lasts a day; raise AccountRefused where the account may not sign in."""
    hold_active(session, user)
    secret = secrets.token_urlsafe(32)
    link = SignInLink(user_id=user.id, token_hash=digest(secret), expires_at=now() + timedelta(hours=LINK_HOURS))
    session.add(link)
    return secret


def use_link(session: Session, secret: str) -> User | None:
    """Use a one-time secret and return its account, whose other links end; None where unknown, used or expired."""
    wanted = (SignInLink.token_hash == digest(secret), SignInLink.used_at.is_(None), SignInLink.expires_at > now())
    owner = session.scalar(select(SignInLink.user_id).where(*wanted))
    user = lock_active(session, owner) if owner else None
    # Checked once more now that the account is locked: another of its links may have been used meanwhile.
    spent = update(SignInLink).where(*wanted).values(used_at=now()).execution_options(synchronize_session=False)
    if user is None or not row_count(session.execute(spent)):
        return None
    end_links(session, user)
    return user


def end_links(session: Session, user: User) -> None:
    """End every unused sign-in link of an account."""
    session.execute(delete(SignInLink).where(SignInLink.user_id == user.id, SignInLink.used_at.is_(None)))
