"""Administrators' changes to accounts: roles, disabling, sessions. One active admin always remains."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.accounts.credentials import end_credentials
from shared.accounts.refusal import AccountRefused
from shared.tables import Role, User


def change_role(session: Session, user: User, role: Role) -> None:
    """Give an account another role, as `give_role` does; raise AccountRefused where it is the last admin."""
    if role is not Role.ADMIN:
        _refuse_last_admin(session, user)
    give_role(session, user, role)


def give_role(session: Session, user: User, role: Role) -> None:
    """Change an account's role; where that removes rights, end its existing credentials.

    Only an admin may do all that the others may: a technician sends images, a reader sees those of others.
    """
    takes_away = role not in {user.role, Role.ADMIN}
    user.role = role
    if takes_away:
        end_credentials(session, user)


def disable(session: Session, user: User) -> None:
    """Disable an account: end its sessions, links and tokens, and refuse password and single sign-on meanwhile.

    Raises AccountRefused where it is the last active admin.
    """
    _refuse_last_admin(session, user)
    user.is_active = False
    end_credentials(session, user)


def enable(user: User) -> None:
    """Enable an account again, for its password, single sign-on or a new link."""
    user.is_active = True


def _refuse_last_admin(session: Session, user: User) -> None:
    # Locked, so that if two transactions each take away one of two admins, the second sees what the first did.
    wanted = select(User.id).where(User.role == Role.ADMIN, User.is_active).order_by(User.id).with_for_update()
    if session.scalars(wanted).all() == [user.id]:
        raise AccountRefused(
            "%(name)s is the last admin who can sign in. Make another account an admin first, or enable another admin.",
            name=user.name,
        )
