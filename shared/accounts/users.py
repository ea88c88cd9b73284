"""User accounts of people and programs: find, add, and lock them while credentials are created."""

import re
import uuid
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.accounts.passwords import hash_password
from shared.accounts.refusal import AccountRefused
from shared.db import new_id
from shared.tables import Role, User

_SHOWN: Final = 80
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def find_user(session: Session, name: str) -> User | None:
    """Return an account by name; None where there is none or the name is invalid."""
    # A name with NUL or a lone surrogate makes a database raise an error.
    return session.scalar(select(User).where(User.name == name)) if _NAME.fullmatch(name) else None


def get_user(session: Session, name: str) -> User:
    """Return an account by name; raise AccountRefused where there is none."""
    user = find_user(session, name)
    if user is None:
        raise AccountRefused("There is no account named %(name)s.", name=repr(name[:_SHOWN]))
    return user


def add_user(session: Session, name: str, role: Role, password: str | None = None) -> User:
    """Add an account; raise AccountRefused where the name is taken or malformed, or the password too short."""
    if not _NAME.fullmatch(name):
        raise AccountRefused(
            "A name has 1 to 64 letters, digits, dots, hyphens, underscores or @ signs. Received: %(name)s",
            name=repr(name[:_SHOWN]),
        )
    if find_user(session, name) is not None:
        raise AccountRefused("There is an account named '%(name)s' already.", name=name)
    user = User(id=new_id(), name=name, role=role, password_hash=hash_password(password) if password else None)
    session.add(user)
    session.flush()
    return user


def lock_active(session: Session, user_id: uuid.UUID) -> User | None:
    """Read an account afresh and lock it until the transaction ends; return None where it may not sign in."""
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    return user if user is not None and user.is_active else None


def hold_active(session: Session, user: User) -> None:
    """Keep an account from being disabled while a credential for it is created."""
    held = select(User.id).where(User.id == user.id, User.is_active).with_for_update(read=True)
    if session.scalar(held) is None:
        raise AccountRefused("%(name)s may not sign in. Enable the account first.", name=user.name)
