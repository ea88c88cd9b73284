"""Credentials of an account: check and change its password, and end what else opens it."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from shared.accounts import passwords, sessions
from shared.accounts.links import end_links
from shared.accounts.tokens import revoke_tokens
from shared.accounts.users import find_user, lock_active
from shared.tables import User


def set_password(session: Session, user: User, password: str) -> None:
    """Change a password and end every session and sign-in link of the account; its API tokens stay.

    Raises AccountRefused where the length is not allowed.
    """
    user.password_hash = passwords.hash_password(password)
    sessions.end_all(session, user)
    end_links(session, user)


def end_credentials(session: Session, user: User) -> None:
    """End all credentials of an account except its password: sessions, sign-in links and API tokens."""
    sessions.end_all(session, user)
    end_links(session, user)
    revoke_tokens(session, user)


def check_password(session: Session, name: str, password: str) -> User | None:
    """Return the active account that matches name and password; an unknown name takes as long as a wrong password."""
    user = find_user(session, name)
    opens = passwords.matches(password, user.password_hash if user is not None and user.password_hash else None)
    return user if user is not None and opens and user.is_active else None


def lock_opened(session: Session, opened: User, password: str) -> User | None:
    """Lock and return the account that a password just opened; None where it no longer does."""
    user = lock_active(session, opened.id)
    if user is None or user.password_hash == opened.password_hash:
        return user
    return check_password(session, user.name, password)


def renew_hash(session: Session, user: User, password: str) -> None:
    """Rehash a password that was just checked, where its hash was made with outdated cost parameters."""
    if user.password_hash is None or not passwords.is_outdated(user.password_hash):
        return
    # Only if the hash is still the one that was checked: the password may have been changed since.
    present = update(User).where(User.id == user.id, User.password_hash == user.password_hash)
    session.execute(present.values(password_hash=passwords.rehash(password)))
