"""The transactional outbox: messages to webhooks and people, written as rows with their event, sent under a lease.

Delivery is at least once. A message keeps its id on every attempt, so that receivers can detect duplicates.
"""

import logging
import random
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, update
from sqlalchemy.orm import Session

from shared.db import ROWS_A_STATEMENT, in_parts, insert_new, new_id, now, row_count
from shared.messages import digests
from shared.messages.digests import Part
from shared.messages.problems import FOR_GOOD, OF_THE_RELAY, Problem
from shared.messages.webhooks import stop
from shared.tables import Job, Message, MessageEvent, MessageState, Screening, User, Webhook

log = logging.getLogger(__name__)

TRIED_FOR: Final = timedelta(days=1)
"""How long a message is retried, and how long an address may fail before it is stopped."""
KEPT_FOR: Final = timedelta(days=30)
LEASE: Final = timedelta(seconds=60)
"""Longer than one attempt may take (`worker.messages.sender`), so that no message is sent twice concurrently."""
AT_ONCE: Final = 16
"""Messages sent in parallel."""
AT_ONE_ADDRESS: Final = 8
MOST_LOST: Final = 3
"""How often a message may be lost with its sender: the message is seldom what ends a sweep once or twice."""

_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 3600.0


class Kind(Enum):
    """The kind of recipient; kinds are sent separately, as the mail server is slower than most webhooks."""

    WEBHOOKS = auto()
    EMAILS = auto()


@dataclass(frozen=True)
class MessageContent:
    """The content of a message: the id of its subject, the occasion, and the body for programs."""

    subject: uuid.UUID | None
    occasion: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Claimed:
    """A message under lease, to a webhook or to a person."""

    message_id: uuid.UUID
    token: uuid.UUID
    body: dict[str, Any]
    parts: list[Part]
    """The parts of an e-mail; empty where all were deleted."""
    webhook: Webhook | None
    user: User | None


@dataclass(frozen=True)
class Outcome:
    """The outcome of sending: the status of the answer, and the problem with it or with the connection."""

    answer: int | None = None
    problem: Problem | None = None
    email: str | None = None
    """The address that an e-mail went to, or was to go to."""
    was_tried: bool = True
    """False for an e-mail not tried because the mail server accepts none; no attempt is counted."""


def listening(session: Session, event: MessageEvent) -> list[Webhook]:
    """Return and lock the webhooks subscribed to an event."""
    # Locked until the commit: deleting a webhook before it would make the insert fail, and with it the transaction.
    held = select(Webhook).where(Webhook.stopped_at.is_(None)).with_for_update(read=True, key_share=True)
    every = session.scalars(held)
    return [webhook for webhook in every if event.value in webhook.events]


def is_due(session: Session, kinds: Collection[Kind] = tuple(Kind)) -> bool:
    """Tell whether there is anything to `claim`."""
    at = now()
    due = select(Message.id).where(_is(MessageState.WAITING), Message.due_at <= at).limit(1)
    queries = {
        Kind.WEBHOOKS: due.join(Webhook).where(Webhook.stopped_at.is_(None)),
        Kind.EMAILS: due.where(*_are_emails()),
    }
    if any(session.scalar(queries[kind]) is not None for kind in kinds):
        return True
    return Kind.EMAILS in kinds and digests.is_any_ready(session, at)


def add(
    session: Session, targets: Sequence[Webhook | User], event: MessageEvent, contents: Sequence[MessageContent]
) -> None:
    """Add a message of each content for each target, skipping existing ones."""
    at = now()
    rows = [
        {
            "id": uuid.uuid5(target.id, f"{event.value} {content.subject} {content.occasion}"),
            "webhook_id": target.id if isinstance(target, Webhook) else None,
            "user_id": target.id if isinstance(target, User) else None,
            "event": event,
            "subject": content.subject,
            "body": {"type": event.value, "timestamp": at.isoformat(), "data": dict(content.body)},
            "created_at": at,
            "state": MessageState.WAITING,
            "due_at": at,
            "give_up_at": at + TRIED_FOR,
            "attempts": 0,
        }
        for target in targets
        for content in contents
    ]
    for some in in_parts(rows):
        insert_new(session, Message, some)


def claim(session: Session, kinds: Collection[Kind] = tuple(Kind)) -> list[Claimed]:
    """Claim due messages of some kinds, at most AT_ONCE, taking one per webhook and one e-mail in turn.

    No webhook gets more than AT_ONE_ADDRESS, nor does the mail server, and one with thousands waiting does not block
    the others. First, an account's waiting messages are gathered into one e-mail, where it may get one. A message whose
    senders were all lost for a day is given up, and so is one to a webhook about something deleted.
    """
    at, token = now(), new_id()
    places: list[ColumnElement[bool]] = []
    if Kind.WEBHOOKS in kinds:
        webhooks = session.scalars(select(Webhook).where(Webhook.stopped_at.is_(None))).all()
        places += [Message.webhook_id == webhook.id for webhook in webhooks]
    if Kind.EMAILS in kinds:
        digests.gather(session, at)
        places.append(and_(*_are_emails()))
    due = [message for place in places for message in enumerate(_due(session, place, at))]
    due.sort(key=lambda one: (one[0], one[1].due_at))
    taken: list[Claimed] = []
    for _, message in due[:AT_ONCE]:
        if message.lease_token is not None and message.attempts >= MOST_LOST and message.give_up_at < at:
            _give_up_lost(message)
            continue
        if not _is_there(session, message):
            message.state, message.problem, message.lease_token = MessageState.FAILED, Problem.JOB_DELETED, None
            continue
        message.lease_token, message.due_at, message.tried_at = token, at + LEASE, at
        message.attempts += 1
        parts = [] if message.user is None else digests.parts_of(session, message)
        taken.append(Claimed(message.id, token, message.body, parts, webhook=message.webhook, user=message.user))
    return taken


def _give_up_lost(message: Message) -> None:
    log.error("The message %s was given up: its last sender never said what came of it.", message.id)
    message.state, message.problem, message.lease_token = MessageState.FAILED, Problem.BROKE_OFF, None


def _is_there(session: Session, message: Message) -> bool:
    """Tell whether a webhook message's subject still exists; an e-mail covers what is left."""
    if message.webhook_id is None or message.subject is None:
        return True
    table = Job if message.event is MessageEvent.JOB_FINISHED else Screening
    return session.scalar(select(table.id).where(table.id == message.subject)) is not None


def _due(session: Session, place: ColumnElement[bool], at: datetime) -> Sequence[Message]:
    """Lock the longest due messages to a destination, at most AT_ONE_ADDRESS; skip rows locked by others."""
    due = select(Message).where(place, _is(MessageState.WAITING), Message.due_at <= at)
    locked = due.order_by(Message.due_at).limit(AT_ONE_ADDRESS).with_for_update(skip_locked=True)
    return session.scalars(locked).all()


def settle(session: Session, claimed: Claimed, outcome: Outcome) -> bool:
    """Write the outcome of a message; False where its lease has passed to another."""
    webhook = None
    if claimed.webhook is not None:
        held_webhook = select(Webhook).where(Webhook.id == claimed.webhook.id).with_for_update(key_share=True)
        webhook = session.scalar(held_webhook)
    if claimed.user is not None:  # first, in the lock order of deleting an account
        session.execute(select(User.id).where(User.id == claimed.user.id).with_for_update(key_share=True))
    message = _held(session, claimed)
    if message is None:
        return False
    # Kept until it is accepted, whatever comes of the second try; `send_again` resets it.
    was_unconfirmed = message.problem == Problem.UNCONFIRMED and message.attempts > 1
    message.lease_token, message.answer, message.problem = None, outcome.answer, outcome.problem
    message.attempts -= not outcome.was_tried
    message.email = outcome.email or message.email
    if outcome.problem is None:
        message.state = MessageState.SENT
    if webhook is None:
        _settle_email(session, message, outcome.problem)
        if was_unconfirmed and outcome.problem is not None:
            message.problem = Problem.UNCONFIRMED
            if outcome.problem is Problem.UNCONFIRMED:
                message.state = MessageState.FAILED
        _note_email(session, message, outcome)
    elif outcome.problem is None:
        _note_answer(session, webhook)
    else:
        is_of_address = outcome.problem is not Problem.BROKE_OFF
        _postpone(session, webhook, message, is_silent=is_of_address and outcome.answer is None)
        if outcome.problem is Problem.GONE:
            message.state = MessageState.FAILED
            stop(webhook, Problem.GONE)
    return True


def release(session: Session, claimed: Claimed) -> None:
    """Release a message that was not tried after all, without counting an attempt."""
    message = _held(session, claimed)
    if message is not None:
        message.lease_token, message.due_at = None, now()
        message.attempts -= 1


def _held(session: Session, claimed: Claimed) -> Message | None:
    held = (Message.id == claimed.message_id, Message.lease_token == claimed.token)
    return session.scalar(select(Message).where(*held).with_for_update())


def _settle_email(session: Session, message: Message, problem: Problem | None) -> None:
    """Send waiting e-mails once the mail server has accepted one; retry one that it did not accept later."""
    waiting = (Message.webhook_id.is_(None), _is(MessageState.WAITING), Message.lease_token.is_(None))
    if problem is None:
        is_held_back = or_(Message.problem.is_(None), Message.problem.in_(OF_THE_RELAY))
        _move(session, now(), *waiting, is_held_back, Message.due_at > now())
        return
    if problem in FOR_GOOD:
        message.state = MessageState.FAILED
        return
    failures = message.attempts
    if problem in OF_THE_RELAY:
        failures = max(1, failures, session.scalar(select(func.max(Message.attempts)).where(*waiting)) or 0)
    due_at = now() + pause(failures)
    if problem in OF_THE_RELAY:
        _move(session, due_at, *waiting, Message.due_at < due_at, Message.id != message.id)
    if due_at <= message.give_up_at:
        message.due_at = due_at
    else:
        message.state = MessageState.FAILED


def _note_email(session: Session, message: Message, outcome: Outcome) -> None:
    """Record that an account got an e-mail, or that its address is refused, which delays its next one."""
    is_over = message.state is not MessageState.WAITING
    if is_over and outcome.email is not None and message.event is not MessageEvent.TEST:
        session.execute(update(User).where(User.id == message.user_id).values(emailed_at=now()))


def _are_emails() -> tuple[ColumnElement[bool], ...]:
    return Message.webhook_id.is_(None), digests.is_made()


def _move(session: Session, due_at: datetime, *which: ColumnElement[bool]) -> None:
    """Reschedule messages; those being rescheduled by another sweep are skipped."""
    free = select(Message.id).where(*which).with_for_update(skip_locked=True)
    moved = update(Message).where(Message.id.in_(free)).values(due_at=due_at)
    session.execute(moved.execution_options(synchronize_session=False))


def _note_answer(session: Session, webhook: Webhook) -> None:
    """Record that an address accepts messages; those held back while it failed are due now."""
    if webhook.failures:
        session.execute(_held_back(webhook).values(due_at=now()))
    webhook.answered_at, webhook.failures = now(), 0


def _postpone(session: Session, webhook: Webhook, message: Message, *, is_silent: bool) -> None:
    """Retry a message later, or give it up; where the address does not answer, its other messages wait, too."""
    if is_silent:  # not incremented: eight parallel failures count as one failure of the address
        webhook.failures = max(webhook.failures, message.attempts)
    due_at = now() + pause(max(message.attempts, webhook.failures if is_silent else 0))
    if is_silent:
        session.execute(_held_back(webhook).where(Message.due_at < due_at).values(due_at=due_at))
    if due_at <= message.give_up_at:
        message.due_at = due_at
        return
    message.state = MessageState.FAILED
    if message.problem == Problem.BROKE_OFF:  # tells nothing about the address
        return
    if webhook.answered_at is None or webhook.answered_at < now() - TRIED_FOR:
        stop(webhook, str(message.problem))


def _held_back(webhook: Webhook) -> Any:
    """Match a webhook's waiting messages that are not being sent."""
    idle = (_is(MessageState.WAITING), Message.lease_token.is_(None))
    return update(Message).where(Message.webhook_id == webhook.id, *idle).execution_options(synchronize_session=False)


def pause(failures: int) -> timedelta:
    """Return the exponential backoff after so many failures: from 10 s, three times as long each time, up to an hour.

    With a jitter of a quarter, so that what failed together is not retried together.
    """
    seconds = min(_FIRST_PAUSE * 3.0 ** min(failures - 1, 10), _LONGEST_PAUSE)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311  # no secret


def send_again(session: Session, message: Message) -> None:
    """Send a sent or given up message once more, retrying for a day; it keeps its id."""
    at = now()
    message.state, message.due_at, message.give_up_at = MessageState.WAITING, at, at + TRIED_FOR
    message.attempts, message.lease_token = 0, None
    session.flush()


def start(session: Session, webhook: Webhook) -> None:
    """Restart a webhook, and retry its waiting messages for another day."""
    webhook.stopped_at = webhook.stopped_for = None
    webhook.failures = 0
    at = now()
    session.flush()
    session.execute(_held_back(webhook).values(due_at=at, give_up_at=at + TRIED_FOR, attempts=0))


def remove_old(session: Session) -> int:
    """Remove completed messages older than KEPT_FOR; return how many, at most one part.

    Messages waiting for a webhook stopped that long are removed, too.
    """
    before = now() - KEPT_FOR
    is_idle = Message.webhook_id.in_(select(Webhook.id).where(Webhook.stopped_at < before))
    old = (
        select(Message.id)
        .where(Message.created_at < before, or_(~_is(MessageState.WAITING), is_idle))
        .limit(ROWS_A_STATEMENT)
    )
    ids = session.scalars(old).all()
    if not ids:
        return 0
    return row_count(session.execute(delete(Message).where(Message.id.in_(ids))))


def _is(state: MessageState) -> ColumnElement[bool]:
    """Match messages in a state, as a literal: with a bound value SQLite does not use a partial index."""
    return Message.state == literal(state, Message.state.type, literal_execute=True)
