"""The outbox: messages to webhooks as rows, noted in the commit of what they tell of, and sent under a lease.

A message arrives at least once. Its id stays the same whenever it is sent, so that its receiver can tell.
"""

import json
import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, literal, select, update
from sqlalchemy.orm import Session

from shared.db import insert_new, new_id, now, row_count
from shared.messages.problems import Problem
from shared.messages.webhooks import stop
from shared.models.spec import Label
from shared.tables import Job, Message, MessageEvent, MessageState, Screening, Webhook

TRIED_FOR: Final = timedelta(days=1)
"""How long a message is tried, and how long an address may be silent before nothing is sent there any more."""
KEPT_FOR: Final = timedelta(days=30)
LEASE: Final = timedelta(seconds=60)
"""Longer than one attempt may take (`worker.messages.sender`), so that no message is sent twice at the same time."""
AT_ONCE: Final = 16
"""Messages that are sent side by side."""
AT_ONE_ADDRESS: Final = 8

_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 3600.0
_PART: Final = 1000
"""SQLite takes 32,766 bound values a statement; a message has 13."""


@dataclass(frozen=True)
class Claimed:
    """A message that somebody is about to send."""

    message_id: uuid.UUID
    token: uuid.UUID
    webhook_id: uuid.UUID
    url: str
    salt: str
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of sending: the status of the answer, and what is wrong with it or with the way there."""

    answer: int | None = None
    problem: Problem | None = None


def note_flagged(session: Session, screenings: Sequence[uuid.UUID]) -> None:
    """Note that images were flagged, for each webhook that wants to know; those that were not are passed over."""
    webhooks = _listening(session, MessageEvent.IMAGE_FLAGGED) if screenings else []
    if not webhooks:
        return
    for start in range(0, len(screenings), _PART):
        some = Screening.id.in_(screenings[start : start + _PART])
        flagged = select(Screening.id, Screening.job_id).where(some, Screening.label == Label.PNEUMONIA)
        _note(session, webhooks, MessageEvent.IMAGE_FLAGGED, [
            (row.id, "", {"screening": str(row.id), "job": str(row.job_id), "page_url": f"/screenings/{row.id}"})
            for row in session.execute(flagged)
        ])  # fmt: skip


def note_finished(session: Session, job: Job, ended_at: datetime, counts: dict[str, int], flagged: int) -> None:
    """Note that a job has ended, for each webhook that wants to know; one that was retried ends once more."""
    webhooks = _listening(session, MessageEvent.JOB_FINISHED)
    body = {"job": str(job.id), "counts": counts, "flagged": flagged, "page_url": f"/jobs/{job.id}"}
    _note(session, webhooks, MessageEvent.JOB_FINISHED, [(job.id, ended_at.isoformat(), body)])


def note_test(session: Session, webhook: Webhook) -> None:
    """Note a message that tells of nothing, to try an address."""
    _note(session, [webhook], MessageEvent.TEST, [(None, str(new_id()), {})])


def _listening(session: Session, event: MessageEvent) -> list[Webhook]:
    # Held until the commit: a webhook deleted before it would have the insert fail, and with it what it tells of.
    held = select(Webhook).where(Webhook.stopped_at.is_(None)).with_for_update(read=True, key_share=True)
    every = session.scalars(held)
    return [webhook for webhook in every if event.value in webhook.events]


def is_due(session: Session) -> bool:
    """Tell whether there is anything to `claim`."""
    due = select(Message.id).join(Webhook).where(_is(MessageState.WAITING), Message.due_at <= now())
    return session.scalar(due.where(Webhook.stopped_at.is_(None)).limit(1)) is not None


def _note(
    session: Session,
    webhooks: Iterable[Webhook],
    event: MessageEvent,
    told: Sequence[tuple[uuid.UUID | None, str, dict[str, Any]]],
) -> None:
    """Note what is told, a subject, its occasion and its body each, for every webhook."""
    at = now()
    rows = [
        {
            "id": uuid.uuid5(webhook.id, f"{event.value} {subject} {occasion}"),
            "webhook_id": webhook.id,
            "event": event,
            "subject": subject,
            "body": {"type": event.value, "timestamp": at.isoformat(), "data": body},
            "created_at": at,
            "state": MessageState.WAITING,
            "due_at": at,
            "give_up_at": at + TRIED_FOR,
            "attempts": 0,
        }
        for webhook in webhooks
        for subject, occasion, body in told
    ]
    for start in range(0, len(rows), _PART):
        insert_new(session, Message, rows[start : start + _PART])


def claim(session: Session) -> list[Claimed]:
    """Take messages that are due under one lease, at most AT_ONCE, one of each webhook in turn.

    No webhook gets more than AT_ONE_ADDRESS, and one that has thousands waiting holds none of the others up.
    """
    at, token = now(), new_id()
    webhooks = session.scalars(select(Webhook).where(Webhook.stopped_at.is_(None))).all()
    due = [(webhook, message) for webhook in webhooks for message in enumerate(_due(session, webhook, at))]
    due.sort(key=lambda one: (one[1][0], one[1][1].due_at))
    taken: list[Claimed] = []
    for webhook, (_, message) in due[:AT_ONCE]:
        message.lease_token, message.due_at, message.tried_at = token, at + LEASE, at
        message.attempts += 1
        body = json.dumps(message.body, separators=(",", ":"), sort_keys=True).encode()
        taken.append(Claimed(message.id, token, webhook.id, webhook.url, webhook.salt, body))
    return taken


def _due(session: Session, webhook: Webhook, at: datetime) -> Sequence[Message]:
    """Lock the messages of a webhook that are due longest, at most AT_ONE_ADDRESS; others' locks are passed over."""
    due = select(Message).where(Message.webhook_id == webhook.id, _is(MessageState.WAITING), Message.due_at <= at)
    locked = due.order_by(Message.due_at).limit(AT_ONE_ADDRESS).with_for_update(skip_locked=True)
    return session.scalars(locked).all()


def settle(session: Session, claimed: Claimed, outcome: Outcome) -> bool:
    """Write what came of a message; False where its lease has passed to another."""
    webhook = session.scalar(select(Webhook).where(Webhook.id == claimed.webhook_id).with_for_update(key_share=True))
    held = (Message.id == claimed.message_id, Message.lease_token == claimed.token)
    message = session.scalar(select(Message).where(*held).with_for_update())
    if webhook is None or message is None:
        return False
    message.lease_token, message.answer, message.problem = None, outcome.answer, outcome.problem
    if outcome.problem is None:
        message.state = MessageState.SENT
        _note_answer(session, webhook)
        return True
    _postpone(session, webhook, message, is_silent=outcome.answer is None)
    if outcome.problem is Problem.GONE:
        message.state = MessageState.FAILED
        stop(webhook, Problem.GONE)
    return True


def _note_answer(session: Session, webhook: Webhook) -> None:
    """Note that an address takes messages; what was held back while it was silent goes now."""
    if webhook.failures:
        session.execute(_held_back(webhook).values(due_at=now()))
    webhook.answered_at, webhook.failures = now(), 0


def _postpone(session: Session, webhook: Webhook, message: Message, *, is_silent: bool) -> None:
    """Try a message again later, or give it up; where nobody answers, the others for that address wait as well."""
    if is_silent:  # not counted up: eight that were sent side by side are one failure of the address
        webhook.failures = max(webhook.failures, message.attempts)
    due_at = now() + pause(max(message.attempts, webhook.failures if is_silent else 0))
    if is_silent:
        session.execute(_held_back(webhook).where(Message.due_at < due_at).values(due_at=due_at))
    if due_at <= message.give_up_at:
        message.due_at = due_at
        return
    message.state = MessageState.FAILED
    if webhook.answered_at is None or webhook.answered_at < now() - TRIED_FOR:
        stop(webhook, str(message.problem))


def _held_back(webhook: Webhook) -> Any:
    """Match the messages of a webhook that wait and that nobody sends at this moment."""
    idle = (_is(MessageState.WAITING), Message.lease_token.is_(None))
    return update(Message).where(Message.webhook_id == webhook.id, *idle).execution_options(synchronize_session=False)


def pause(failures: int) -> timedelta:
    """Return how long to wait after so many failures: from 10 s, three times as long each time, to an hour.

    A quarter more or less, so that what failed together does not come together again.
    """
    seconds = min(_FIRST_PAUSE * 3.0 ** min(failures - 1, 10), _LONGEST_PAUSE)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311  # no secret


def send_again(session: Session, message: Message) -> None:
    """Send a message that was sent or given up once more, for a day; it keeps its id."""
    at = now()
    message.state, message.due_at, message.give_up_at = MessageState.WAITING, at, at + TRIED_FOR
    message.attempts, message.lease_token = 0, None
    session.flush()


def start(session: Session, webhook: Webhook) -> None:
    """Send to a webhook again, what waits for it first, for another day."""
    webhook.stopped_at = webhook.stopped_for = None
    webhook.failures = 0
    at = now()
    session.flush()
    session.execute(_held_back(webhook).values(due_at=at, give_up_at=at + TRIED_FOR, attempts=0))


def remove_old(session: Session) -> int:
    """Remove messages of more than KEPT_FOR ago that nobody sends any more; return how many, at most a part."""
    old = select(Message.id).where(Message.created_at < now() - KEPT_FOR, ~_is(MessageState.WAITING)).limit(_PART)
    ids = session.scalars(old).all()
    if not ids:
        return 0
    return row_count(session.execute(delete(Message).where(Message.id.in_(ids))))


def _is(state: MessageState) -> ColumnElement[bool]:
    """Match messages in a state, written as a literal: a bound value hides a partial index from SQLite."""
    return Message.state == literal(state, Message.state.type, literal_execute=True)
