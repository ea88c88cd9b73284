"""What administrators do to accounts: roles, who may sign in, sessions. One admin who may sign in always stays."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.accounts import AccountRefused, end_sessions
from shared.tables import Role, User


def change_role(session: Session, user: User, role: Role) -> None:
    """Give an account another role; raise AccountRefused where it is the last admin who may sign in."""
    if role is not Role.ADMIN:
        _refuse_last_admin(session, user)
    user.role = role


def disable(session: Session, user: User) -> None:
    """Keep a person out: sessions end, passwords, links, tokens and single sign-on open nothing.

    Raises AccountRefused where it is the last admin who may sign in.
    """
    _refuse_last_admin(session, user)
    user.is_active = False
    end_sessions(session, user)


def enable(user: User) -> None:
    """Let a person in again."""
    user.is_active = True


def _refuse_last_admin(session: Session, user: User) -> None:
    # Locked, so that of two acts that each take away one of two admins the second sees what the first did.
    wanted = select(User.id).where(User.role == Role.ADMIN, User.is_active).order_by(User.id).with_for_update()
    if session.scalars(wanted).all() == [user.id]:
        raise AccountRefused(
            f"{user.name} is the last admin who may sign in. Make another account an admin first, or let another "
            "admin sign in again."
        )
