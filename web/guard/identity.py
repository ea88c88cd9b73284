"""Identify the account behind a browser's session or a program's token."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from flask import Flask, current_app, g, request, session
from sqlalchemy import event, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.accounts import sessions, tokens
from shared.db import now
from shared.tables import ApiToken, User
from web.base.services import services
from web.guard import devices

log = logging.getLogger(__name__)

BY_PROVIDER: Final = "by_provider"
"""Marks a session started by single sign-on: the identity provider's own session outlasts it."""

_SECRET: Final = "secret"  # noqa: S105  # its key in the cookie


def install(app: Flask) -> None:
    """Identify the account before every request."""
    app.before_request(_identify)
    app.context_processor(lambda: {"user": g.get("user")})


def start_session(db: Session, user: User) -> None:
    """Sign a browser in with a fresh session, without earlier content, in the caller's transaction.

    The cookie changes only after the commit; on failure the browser keeps its session and form.
    """
    if g.session is not None:
        sessions.end(db, g.session.user, g.session.id)
    secret = sessions.begin(
        db,
        user,
        lasts=timedelta(hours=services().settings.session_hours),
        address=request.remote_addr,
        user_agent=request.user_agent.string,
    )

    @event.listens_for(db, "after_commit", once=True)
    def keep(_db: Session) -> None:
        session.clear()
        session.permanent = True
        session[_SECRET] = secret
        devices.remember(user)


def idle_limit() -> timedelta:
    """Return how long a session lasts without use."""
    return timedelta(minutes=services().settings.session_idle_minutes)


def _identify() -> None:
    g.user, g.session, g.session_has_ended = None, None, False
    g.by_token, g.scopes = False, frozenset()
    if request.endpoint == "static" or request.blueprint == "health":  # which work without the database
        return
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        g.by_token = True
        _identify_token(secret.strip())
    elif _SECRET in session:
        _identify_session(session[_SECRET])


def _identify_token(secret: str) -> None:
    with services().database.read() as db:
        token = tokens.find_token(db, secret)
    if token is None:
        return
    g.user, g.scopes = token.user, token.scopes
    today = now().date()
    if token.last_used_on != today:
        used = update(ApiToken).where(ApiToken.id == token.id).values(last_used_on=today)
        _note(lambda db: db.execute(used))


def _identify_session(secret: str) -> None:
    with services().database.read() as db:
        row = sessions.find(db, secret, idle_limit())
    if row is None:
        del session[_SECRET]
        g.session_has_ended = True
        return
    g.user, g.session = row.user, row
    view = current_app.view_functions.get(request.endpoint or "")
    if not getattr(view, "asked_by_script", False) and now() - row.last_seen_at >= sessions.NOTED_EVERY:
        _note(lambda db: sessions.note_use(db, row))


def _note(write: Callable[[Session], object]) -> None:
    """Record a last use; a full or locked database must not prevent reading."""
    try:
        with services().database.write() as db:
            write(db)
    except SQLAlchemyError as error:
        log.warning("The use of a session or token could not be noted: %s", error)
