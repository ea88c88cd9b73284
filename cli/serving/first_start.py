"""Set up a first start on one machine: a first account, a local token and the sample images."""

import logging
import tempfile
from pathlib import Path

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from cli.actor import operating_user
from cli.data_folder import SAMPLES_FOLDER, TOKEN_FILE, UNFINISHED, write_private
from shared.accounts import links, tokens, users
from shared.audit.record import Action, record
from shared.db import Database
from shared.images.samples import write_samples
from shared.tables import Role, Scope, User

log = logging.getLogger(__name__)

FIRST_USER = "admin"


def sign_in_secret(database: Database) -> str | None:
    """Make a one-time sign-in secret while no account has a password; None once one has."""
    with database.write() as session:
        if session.scalar(select(exists().where(User.password_hash.is_not(None)))):
            return None
        admin = _first_admin(session)
        if admin is None:
            return None
        _record_change(session, Action.USER_CHANGED, admin, "link")
        return links.make_link(session, admin)


def _first_admin(session: Session) -> User | None:
    """Return the oldest active admin; create one where there is no account at all; None where all are disabled."""
    found = session.scalar(
        select(User).where(User.role == Role.ADMIN, User.is_active).order_by(User.created_at).limit(1)
    )
    if found is not None or session.scalar(select(exists().where(User.id.is_not(None)))):
        return found
    user = users.add_user(session, FIRST_USER, Role.ADMIN)
    _record_change(session, Action.USER_CHANGED, user, "added")
    return user


def _record_change(session: Session, action: Action, user: User, change: str) -> None:
    record(session, action, user_id=None, actor=operating_user(), subject=user.id, detail={"change": change})


def keep_local_token(database: Database, data_dir: Path) -> None:
    """Store an API token for this computer's own command line in the data folder.

    Whoever can read that folder can read the database in it too, so the token reveals nothing more.
    """
    path = data_dir / TOKEN_FILE
    with database.write() as session:
        if path.exists() and tokens.token_user(session, path.read_bytes().decode(errors="replace")) is not None:
            return
        user = _first_admin(session)
        if user is None:
            log.warning("No admin is active, so this computer's command line gets no token.")
            return
        token = tokens.make_token(session, user, "this computer", scopes=Scope, days=None)
        _record_change(session, Action.TOKEN_CHANGED, user, "added")
    write_private(path, token)


def keep_samples(data_dir: Path) -> None:
    """Draw the synthetic sample images once; the folder appears when it is complete."""
    folder = data_dir / SAMPLES_FOLDER
    if folder.is_dir():
        return
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=data_dir))
    write_samples(unfinished)
    unfinished.replace(folder)
