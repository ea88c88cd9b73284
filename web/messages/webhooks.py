"""Webhook pages for administrators: where events are sent, the outcome of each message, and sending one again."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.db import new_id
from shared.messages import outbox, webhooks
from shared.messages.events import note_test
from shared.messages.problems import PAUSED
from shared.tables import Message, MessageEvent, MessageState, Role, Webhook
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.languages.text import _, say
from web.messages.listing import list_messages
from web.messages.words import EVENTS, STATES, say_problem

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")

CHOICES: Final = (MessageEvent.JOB_FINISHED, MessageEvent.IMAGE_FLAGGED)


@dataclass(frozen=True)
class ListPage(PageContext):
    """The webhooks, and the form for a new one."""

    template = "messages/webhooks.html"
    entries: Sequence[Webhook]
    new_id: uuid.UUID
    """The id of the webhook that the form will create, so that resubmitting the form creates no second one."""
    events: dict[MessageEvent, str]
    choices: Sequence[MessageEvent]
    url: str
    chosen: Sequence[str]
    problem: str | None


@dataclass(frozen=True)
class SecretPage(PageContext):
    """A new secret, shown once."""

    template = "messages/secret.html"
    webhook: Webhook
    secret: str


@dataclass(frozen=True)
class WebhookPage(PageContext):
    """One webhook and one page of the messages to it."""

    template = "messages/webhook.html"
    webhook: Webhook
    mark: str
    """Identifies the secret that the page can replace."""
    messages: Sequence[Message]
    events: dict[MessageEvent, str]
    states: dict[MessageState, tuple[str, str]]
    newer: str | None
    older: str | None
    say_problem: Callable[[str | None], str]


@blueprint.get("")
@requires(Role.ADMIN)
def index() -> ResponseReturnValue:
    """List the webhooks."""
    return _list_page()


@blueprint.post("")
@requires(Role.ADMIN)
def add() -> ResponseReturnValue:
    """Register a webhook and show its secret once."""
    events = [event for event in CHOICES if event.value in request.form.getlist("events")]
    url, wanted = request.form.get("url", ""), request.form.get("id", type=uuid.UUID)
    try:
        with services().database.write() as db:
            if wanted and db.get(Webhook, wanted):
                return _show_again(
                    wanted, _("This webhook was added already. Its secret is not shown again; a new one can be made.")
                )
            networks = services().settings.networks
            webhook = webhooks.register(db, url, events, g.user.id, networks, webhook_id=wanted)
            note_test(db, webhook)
            _record(db, webhook, "added")
    except webhooks.WebhookRefused as refusal:
        return _list_page(url, [event.value for event in events], say(refusal)), 422
    return _show_secret(webhook), 201


@blueprint.get("/<uuid:webhook_id>")
@requires(Role.ADMIN)
def show(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Show one webhook and the messages to it, newest first."""
    query = select(Message).where(Message.webhook_id == webhook_id)
    with services().database.read() as db:
        webhook = _webhook(db, webhook_id)
        page = list_messages(db, query)
    newer, older = (_turn(webhook_id, cursor) for cursor in (page.previous_cursor, page.next_cursor))
    return render(
        WebhookPage(
            webhook=webhook,
            mark=webhooks.mark_of(webhook),
            messages=page.rows,
            events=EVENTS,
            states=STATES,
            newer=newer,
            older=older,
            say_problem=say_problem,
        )
    )


@blueprint.post("/<uuid:webhook_id>/test")
@requires(Role.ADMIN)
def test(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Send a test message."""
    _act(webhook_id, "tested", note_test)
    flash(_("A test is on its way. It shows below within seconds."), "info")
    return see_other(url_for("webhooks.show", webhook_id=webhook_id))


@blueprint.post("/<uuid:webhook_id>/stop")
@requires(Role.ADMIN)
def stop(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Pause a webhook."""
    _act(webhook_id, "paused", lambda _db, webhook: webhooks.stop(webhook, PAUSED))
    flash(_("The webhook is paused. Events in the meantime are not sent later."), "info")
    return see_other(url_for("webhooks.show", webhook_id=webhook_id))


@blueprint.post("/<uuid:webhook_id>/start")
@requires(Role.ADMIN)
def start(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Resume a webhook."""
    _act(webhook_id, "started", outbox.start)
    flash(_("The webhook is started again. Waiting messages are sent first."), "info")
    return see_other(url_for("webhooks.show", webhook_id=webhook_id))


@blueprint.post("/<uuid:webhook_id>/secret")
@requires(Role.ADMIN)
def renew_secret(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Make another secret and show it once; the previous one becomes invalid."""
    with services().database.write() as db:
        webhook = _webhook(db, webhook_id)
        if request.form.get("shown") != webhooks.mark_of(webhook):
            said = _("Nothing was changed: the secret had been replaced since that page was loaded.")
            return _show_again(webhook_id, said)
        webhook.salt = webhooks.new_salt()
        _record(db, webhook, "secret")
    return _show_secret(webhook)


@blueprint.post("/<uuid:webhook_id>/delete")
@requires(Role.ADMIN)
def delete(webhook_id: uuid.UUID) -> ResponseReturnValue:
    """Delete a webhook with its messages."""
    _act(webhook_id, "deleted", lambda db, webhook: db.delete(webhook))
    flash(_("The webhook is deleted, with its messages."), "info")
    return see_other(url_for("webhooks.index"))


@blueprint.post("/<uuid:webhook_id>/messages/<uuid:message_id>/send")
@requires(Role.ADMIN)
def send_again(webhook_id: uuid.UUID, message_id: uuid.UUID) -> ResponseReturnValue:
    """Send a message again."""

    def send(db: Session, webhook: Webhook) -> None:
        message = db.get(Message, message_id, with_for_update=True)
        if message is None or message.webhook_id != webhook.id:
            abort(404, _("There is no message %(message)s.", message=message_id))
        if message.state is not MessageState.WAITING:  # else it is being sent
            outbox.send_again(db, message)

    webhook = _act(webhook_id, "sent again", send)
    if webhook.stopped_at:
        flash(_("The message is sent again once this webhook is started, under the same id."), "info")
    else:
        flash(_("The message is sent again, under the same id."), "info")
    return see_other(url_for("webhooks.show", webhook_id=webhook_id))


def _act(webhook_id: uuid.UUID, change: str, act: Callable[[Session, Webhook], object]) -> Webhook:
    """Change a webhook and record it in the audit trail in the same commit."""
    with services().database.write() as db:
        webhook = _webhook(db, webhook_id)
        act(db, webhook)
        _record(db, webhook, change)
    return webhook


def _webhook(db: Session, webhook_id: uuid.UUID) -> Webhook:
    return db.get(Webhook, webhook_id) or abort(404, _("There is no webhook %(webhook)s.", webhook=webhook_id))


def _record(db: Session, webhook: Webhook, change: str) -> None:
    record(
        db,
        Action.WEBHOOK_CHANGED,
        user_id=g.user.id,
        subject=webhook.id,
        address=request.remote_addr,
        detail={"change": change, "host": urlsplit(webhook.url).hostname or ""},  # a path may be a secret
    )


def _show_again(webhook_id: uuid.UUID, said: str) -> ResponseReturnValue:
    flash(said, "info")
    return see_other(url_for("webhooks.show", webhook_id=webhook_id))


def _show_secret(webhook: Webhook) -> str:
    signing = services().settings.secret_key
    assert signing is not None  # noqa: S101  # the application does not start without one
    secret = webhooks.secret_of(signing.get_secret_value(), webhook.id, webhook.salt)
    return render(SecretPage(webhook=webhook, secret=secret))


def _list_page(url: str = "", chosen: Sequence[str] | None = None, problem: str | None = None) -> str:
    with services().database.read() as db:
        entries = db.scalars(select(Webhook).order_by(Webhook.id)).all()
    page = ListPage(
        entries=entries,
        new_id=new_id(),
        events=EVENTS,
        choices=CHOICES,
        url=url,
        chosen=[event.value for event in CHOICES] if chosen is None else chosen,
        problem=problem,
    )
    return render(page)


def _turn(webhook_id: uuid.UUID, cursor: str | None) -> str | None:
    return None if cursor is None else url_for("webhooks.show", webhook_id=webhook_id, cursor=cursor or None)
