"""What opens an account: its password checked and changed, and all that was given out for it ended."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from shared.accounts import passwords, sessions
from shared.accounts.links import end_links
from shared.accounts.tokens import revoke_tokens
from shared.accounts.users import find_user, lock_active
from shared.tables import User


def set_password(session: Session, user: User, password: str) -> None:
    """Change a password and end every session and sign-in link of the account; its API tokens stay.

    Raises AccountRefused where its length is not taken.
    """
    user.password_hash = passwords.hash_password(password)
    sessions.end_all(session, user)
    end_links(session, user)


def end_credentials(session: Session, user: User) -> None:
    """End all that was given out for an account so far but its password: sessions, sign-in links and API tokens."""
    sessions.end_all(session, user)
    end_links(session, user)
    revoke_tokens(session, user)


def check_password(session: Session, name: str, password: str) -> User | None:
    """Return the active account that a name and password open; an unknown name takes as long as a wrong password."""
    user = find_user(session, name)
    opens = passwords.matches(password, user.password_hash if user is not None and user.password_hash else None)
    return user if user is not None and opens and user.is_active else None


def lock_opened(session: Session, opened: User, password: str) -> User | None:
    """Return the account that a password opened a moment ago, held; None where it does not open it any more."""
    user = lock_active(session, opened.id)
    if user is None or user.password_hash == opened.password_hash:
        return user
    return check_password(session, user.name, password)


def renew_hash(session: Session, user: User, password: str) -> None:
    """Hash a password that was just checked anew where its hash was made with other costs than today's."""
    if user.password_hash is None or not passwords.is_outdated(user.password_hash):
        return
    # Only over the hash that was checked: the password may have been changed since.
    present = update(User).where(User.id == user.id, User.password_hash == user.password_hash)
    session.execute(present.values(password_hash=passwords.rehash(password)))
