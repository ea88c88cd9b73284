"""The audit trail's hash chain: every row has the hash of the row before it, and the head records the newest."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from sqlalchemy import Select, exists, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared.db import insert_new
from shared.errors import PneumoScreenError
from shared.tables import AuditEvent, AuditHead, User

HASHED: Final = (
    *("sequence", "id", "created_at", "user_id", "actor", "action", "subject", "address", "detail"),
    "previous_hash",
)
"""The columns covered by a row's hash: all but the hash."""

# What column types raise for values not written by our programs; SQLite accepts any value in any column.
_UNREADABLE: Final = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
_NOT_TEXT: Final = "Could not decode to UTF-8"

_HEAD: Final = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


class HeadMalformed(PneumoScreenError):
    """Say that a head is malformed, and its format."""


class HeadMissing(PneumoScreenError):
    """Say that the trail has rows but no record of the newest, so that nothing can be appended."""


@dataclass(frozen=True)
class Head:
    """A position in the chain: the number of a row, from 1, and its hash in 64 hexadecimal digits."""

    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the output of `str`; raise HeadMalformed."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise HeadMalformed(
                "A head is a row's number, a colon and its hash in 64 hexadecimal digits, as 'pneumoscreen audit "
                f"head' prints it. Received: '{text}'"
            )
        return cls(int(found[1]), found[2])


START: Final = Head(0, "0" * 64)
"""The position before the first row."""


def is_unreadable(error: Exception) -> bool:
    """Tell whether an error comes from a value not written by our programs, not from the database or its disk."""
    if isinstance(error, OperationalError):
        return _NOT_TEXT in str(error.orig)
    return isinstance(error, _UNREADABLE)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row's columns to JSON values: times in UTC with microseconds, ids with hyphens; None is omitted."""
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value) if isinstance(value, uuid.UUID) else value


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of a row's columns but `hash`.

    The input is one JSON object in ASCII: keys sorted, no spaces, columns that are None omitted, so that a column added
    later does not change old hashes.
    """
    row = plain({name: values[name] for name in HASHED})
    return hashlib.sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def append(session: Session, events: list[dict[str, Any]]) -> None:
    """Append events, still without number and hashes, after the newest row; raise HeadMissing.

    It locks the trail until the end of the transaction: call it last.
    """
    _name_actors(session, events)
    head = _lock_head(session)
    for values in events:
        values |= {"sequence": head.sequence + 1, "previous_hash": head.hash}
        values["hash"] = digest(values)
        head = Head(values["sequence"], values["hash"])
    session.execute(insert(AuditEvent), events)
    session.execute(update(AuditHead).values(sequence=head.sequence, hash=head.hash))


def _name_actors(session: Session, events: list[dict[str, Any]]) -> None:
    """Set each event's account name, and lock the accounts as the foreign key will.

    It comes before locking the head, so that no holder of the head waits for a locked account.
    """
    ids = {values["user_id"] for values in events} - {None}
    if ids:
        rows = select(User.id, User.name).where(User.id.in_(ids)).with_for_update(read=True, key_share=True)
        names = {row.id: row.name for row in session.execute(rows)}
        for values in events:
            values["actor"] = values["actor"] or names.get(values["user_id"])


def _find_head(session: Session, wanted: Select[int, str]) -> Head | None:
    """Return the head's row, None where it is missing; raise HeadMalformed where our programs did not write it."""
    try:
        row = session.execute(wanted).one_or_none()
    except Exception as error:
        if not is_unreadable(error):
            raise
        raise _malformed() from error
    if row is None:
        return None
    if _HEAD.fullmatch(f"{row.sequence}:{row.hash}") is None:
        raise _malformed()
    return Head(row.sequence, row.hash)


def _malformed() -> HeadMalformed:
    return HeadMalformed("The head of the audit trail was edited. Run 'pneumoscreen audit verify'.")


def _lock_head(session: Session) -> Head:
    # On SQLite a write transaction is already exclusive (shared.db.Database.write).
    locked = select(AuditHead.sequence, AuditHead.hash).with_for_update()
    head = _find_head(session, locked)
    if head is None and _has_rows(session):
        # Another transaction may have written the very first row, and the head with it, since the query above.
        head = _find_head(session, locked)
        if head is None:
            raise HeadMissing("The audit trail has lost its head, so nothing is done. Run 'pneumoscreen audit verify'.")
    if head is None:
        insert_new(session, AuditHead, [{"id": 1, "sequence": START.sequence, "hash": START.hash}])
        head = _find_head(session, locked)
        assert head is not None  # noqa: S101  # inserted by this transaction, or by another meanwhile
    return head


def _has_rows(session: Session) -> bool:
    return bool(session.scalar(select(exists().where(AuditEvent.sequence.is_not(None)))))


def read_head(session: Session) -> Head | None:
    """Return the newest row's position, START for a trail without rows; None where its record was removed.

    Raises HeadMalformed where our programs did not write the record.
    """
    wanted = select(AuditHead.sequence, AuditHead.hash)
    head = _find_head(session, wanted)
    if head is None and _has_rows(session):
        return _find_head(session, wanted)  # the very first row may have been written since
    return head or START
