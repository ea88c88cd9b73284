"""One page of messages, newest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from flask import request
from sqlalchemy import Select
from sqlalchemy.orm import Session

from shared.tables import Message
from web.base.paging import Key, PageOf, key, text, turn

MESSAGES_A_PAGE: Final = 50


def _read_time(value: object) -> datetime:
    """Parse the time of a cursor; raise ValueError."""
    at = datetime.fromisoformat(text(value))
    if at.tzinfo is None:
        raise ValueError(value)
    return at


_NEWEST: Final = Key[Message](
    (Message.created_at, Message.id), (_read_time, key), lambda row: (row.created_at.isoformat(), row.id)
)


def list_messages(db: Session, query: Select[Message]) -> PageOf[Message]:
    """Return the page of messages at the request's cursor."""
    return turn(lambda one: _read(db, one), query, _NEWEST, request.args.get("cursor"), MESSAGES_A_PAGE)


def _read(db: Session, query: Select[Message]) -> Sequence[Message]:
    return db.scalars(query).all()
