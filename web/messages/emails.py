"""E-mails and their outcomes: everybody sees those to their own account, administrators see all."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from shared.audit.record import Action, record
from shared.db import now
from shared.messages import outbox
from shared.messages.digests import count_jobs, next_at
from shared.settings import Settings
from shared.tables import Message, MessageEvent, MessageState, Role
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.languages.text import _
from web.messages.listing import list_messages
from web.messages.words import EVENTS, STATES, say_problem

blueprint = Blueprint("emails", __name__, url_prefix="/emails")


@dataclass(frozen=True)
class EmailsPage(PageContext):
    """One page of e-mails."""

    template = "messages/emails.html"
    messages: Sequence[Message]
    jobs: Mapping[uuid.UUID, int]
    """Number of jobs in an e-mail that covers several."""
    next_at: Callable[[Message], datetime | None]
    """When an e-mail that waits for the account's next digest may be sent, where that is later."""
    sees_all: bool
    settings: Settings
    events: dict[MessageEvent, str]
    states: dict[MessageState, tuple[str, str]]
    newer: str | None
    older: str | None
    say_problem: Callable[[str | None], str]
    show_address: Callable[[Message], str]


@blueprint.get("")
@requires()
def index() -> ResponseReturnValue:
    """List e-mails, newest first."""
    sees_all = g.user.role is Role.ADMIN
    mine = Message.webhook_id.is_(None) if sees_all else Message.user_id == g.user.id
    listed = select(Message).where(mine, Message.state != MessageState.GATHERED).options(joinedload(Message.user))
    with services().database.read() as db:
        page = list_messages(db, listed)
        jobs = count_jobs(db, page.rows)
    newer, older = (_turn(cursor) for cursor in (page.previous_cursor, page.next_cursor))
    return render(
        EmailsPage(
            messages=page.rows,
            jobs=jobs,
            next_at=_next_at,
            sees_all=sees_all,
            settings=services().settings,
            events=EVENTS,
            states=STATES,
            newer=newer,
            older=older,
            say_problem=say_problem,
            show_address=_show_address,
        )
    )


@blueprint.post("/<uuid:email_id>/send")
@requires(Role.ADMIN)
def send_again(email_id: uuid.UUID) -> ResponseReturnValue:
    """Send an e-mail again, unless its account no longer wants it."""
    with services().database.write() as db:
        message = db.get(Message, email_id, with_for_update=True)
        if message is None or message.user_id is None:
            abort(404, _("There is no e-mail %(email)s.", email=email_id))
        if message.state is not MessageState.WAITING:  # else it is being sent
            outbox.send_again(db, message)
        detail = {"change": "sent again"}
        address, subject = request.remote_addr, message.user_id
        record(db, Action.EMAIL_CHANGED, user_id=g.user.id, subject=subject, address=address, detail=detail)
    flash(_("The e-mail is sent again. Its Message-ID stays the same."), "info")
    return see_other(url_for("emails.index"))


def mask(address: str) -> str:
    """Mask an address but for its first letter and its domain."""
    name, _at, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"


def _show_address(message: Message) -> str:
    """Return where an e-mail was sent to, in full for its recipient; administrators find it with the account."""
    if message.email is None:
        return ""
    return message.email if message.user_id == g.user.id else mask(message.email)


def _next_at(message: Message) -> datetime | None:
    is_loose = message.digest_id is None and message.event is not MessageEvent.TEST
    if message.user is None or message.state is not MessageState.WAITING or not is_loose:
        return None
    return next_at(message.user, now())


def _turn(cursor: str | None) -> str | None:
    return None if cursor is None else url_for("emails.index", cursor=cursor or None)
