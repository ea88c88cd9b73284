"""Digests: an account gets at most one e-mail per APART; what happens meanwhile is in the next one.

An e-mail is composed in the commit that claims it. The oldest message becomes the e-mail, under its id; the others are
attached to it for good. So a sender that dies loses none of them, and a retry has the same content, whatever has
happened since.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Update, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from shared.db import in_parts
from shared.tables import Job, Message, MessageEvent, MessageState, User

APART: Final = timedelta(minutes=15)
_ACCOUNTS_AT_ONCE: Final = 8
_WAITING: Final = literal(MessageState.WAITING, Message.state.type, literal_execute=True)
"""Written as a literal: with a bound value SQLite does not use a partial index."""


@dataclass(frozen=True)
class Part:
    """One message in an e-mail."""

    event: MessageEvent
    body: dict[str, Any]
    noted_at: datetime


def is_any_ready(session: Session, at: datetime) -> bool:
    """Tell whether any account may get an e-mail now and has messages waiting."""
    return session.scalar(select(User.id).where(*_are_ready(at)).limit(1)) is not None


def gather(session: Session, at: datetime) -> None:
    """Gather all waiting messages of an account into one e-mail, for some of the accounts that may get one now."""
    # Concurrent senders skip a locked account, and see its e-mail once they can lock it.
    ready = select(User.id).where(*_are_ready(at)).order_by(User.id).limit(_ACCOUNTS_AT_ONCE)
    held = set(session.scalars(ready.with_for_update(key_share=True, skip_locked=True)))
    if not held:
        return
    held -= set(session.scalars(_under_way()))
    # Neither by account nor sorted: SQLite would then use another index, through a month of messages.
    loose = select(Message.id, Message.user_id, Message.created_at, Message.give_up_at).where(*_are_loose(at))
    waiting: dict[uuid.UUID, list[Any]] = {}
    for row in sorted(session.execute(loose), key=lambda row: (row.created_at, row.id)):
        if row.user_id in held:
            waiting.setdefault(row.user_id, []).append(row)
    for rows in waiting.values():
        _join(session, rows, at)


def _join(session: Session, rows: Sequence[Any], at: datetime) -> None:
    """Gather messages into the first one's e-mail, which is retried for as long as the newest would be."""
    leading, ids = rows[0].id, [row.id for row in rows[1:]]
    leads = {"digest_id": leading, "due_at": at, "give_up_at": max(row.give_up_at for row in rows)}
    session.execute(_change(Message.id == leading).values(leads))
    for some in in_parts(ids):
        gathered = {"digest_id": leading, "state": MessageState.GATHERED}
        session.execute(_change(Message.id.in_(some)).values(gathered))


def _change(which: ColumnElement[bool]) -> Update:
    return update(Message).where(which).execution_options(synchronize_session=False)


def parts_of(session: Session, message: Message) -> list[Part]:
    """Return the messages in an e-mail, oldest first, without those of deleted jobs."""
    if message.digest_id is None:
        return [Part(message.event, message.body, message.created_at)]
    of_jobs = (Message.digest_id == message.digest_id, exists().where(Job.id == Message.subject))
    told = select(Message.event, Message.body, Message.created_at).where(*of_jobs)
    return [Part(*row) for row in session.execute(told.order_by(Message.created_at, Message.id))]


def next_at(user: User, at: datetime) -> datetime | None:
    """Return when an account may get its next e-mail; None where that is now."""
    following = None if user.emailed_at is None else user.emailed_at + APART
    return following if following is not None and following > at else None


def count_jobs(session: Session, messages: Sequence[Message]) -> dict[uuid.UUID, int]:
    """Return the number of jobs in the e-mail of each message, where these are several."""
    jobs = func.count(Message.subject.distinct())
    counted = select(Message.digest_id, jobs).where(Message.digest_id.in_([message.id for message in messages]))
    several = session.execute(counted.group_by(Message.digest_id).having(jobs > 1))
    return {row.digest_id: row[1] for row in several}


def is_made() -> ColumnElement[bool]:
    """Match messages to people ready to be sent: gathered e-mails, and tests, which are never gathered."""
    return or_(Message.event == MessageEvent.TEST, Message.digest_id.is_not(None))


def _are_ready(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Match accounts with messages waiting that had no e-mail for a while and have none in progress."""
    had_none = or_(User.emailed_at.is_(None), User.emailed_at <= at - APART)
    # Not as correlated subqueries: those would scan a month of e-mails for each account.
    to_be_told = select(Message.user_id).where(*_are_loose(at), Message.due_at <= at)
    return had_none, User.id.in_(to_be_told), User.id.not_in(_under_way())


def _under_way() -> Select[uuid.UUID | None]:
    """Select the accounts with an e-mail that is still being tried."""
    other = aliased(Message)
    is_tried = (other.webhook_id.is_(None), other.state == _WAITING, other.digest_id.is_not(None))
    return select(other.user_id).where(*is_tried)


def _are_loose(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Match messages that wait for an e-mail and are in none yet."""
    # Messages from before there were digests may be under a lease.
    is_free = or_(Message.lease_token.is_(None), Message.due_at <= at)
    is_loose = (Message.digest_id.is_(None), Message.event != MessageEvent.TEST)
    return Message.webhook_id.is_(None), Message.state == _WAITING, *is_loose, is_free
