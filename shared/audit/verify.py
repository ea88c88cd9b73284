"""Verify the audit trail: find the first row that was edited, removed, inserted or moved."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from shared.audit.chain import HASHED, START, Head, HeadMalformed, digest, is_unreadable, read_head
from shared.db import Database
from shared.tables import AuditEvent, AuditHead

PART: Final = 1000
"""Rows read per transaction, so that verifying millions of rows blocks nobody."""

_COLUMNS: Final = tuple(getattr(AuditEvent, name) for name in (*HASHED, "hash"))


class Fault(StrEnum):
    """The kind of tampering with a row."""

    EDITED = "edited"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"


@dataclass(frozen=True)
class Break:
    """The first row that differs from what the program wrote, and a sentence saying how."""

    sequence: int
    fault: Fault
    message: str


@dataclass(frozen=True)
class Verification:
    """How far a trail was verified: `place` is the last intact row, `goal` the newest one at the start."""

    place: Head
    goal: Head
    broken: Break | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether verification is complete."""
        return self.broken is not None or self.place.sequence >= self.goal.sequence


def verify(
    database: Database,
    *,
    kept: Head | None = None,
    place: Head = START,
    goal: Head | None = None,
    seconds: float = inf,
) -> Verification:
    """Verify a trail in constant memory, up to the newest row at the start.

    `kept` is a head recorded elsewhere: it reveals a trail that was truncated or rewritten together with its head.
    After `seconds` the verification stops; `place` and `goal` of the result resume it.
    """
    until = time.monotonic() + seconds
    if goal is None:
        try:
            with database.read() as session:
                goal = read_head(session)
        except HeadMalformed:
            edited = "The head of the trail was edited, so nothing tells whether its end was cut."
            return Verification(place, place, Break(0, Fault.EDITED, edited))
    if goal is None:
        return Verification(place, place, _missing_head())
    for row in _rows(database, place.sequence, goal.sequence):
        broken = _check(database, row, place)
        if broken is None:
            place = Head(row["sequence"], row["hash"])
            broken = _compare(place, kept, "the head that was kept") or _compare(place, goal, "the head of the trail")
        if broken is not None:
            return Verification(place, goal, broken)
        if time.monotonic() >= until and place.sequence < goal.sequence:
            return Verification(place, goal)
    return Verification(place, goal, _check_ends(database, place, goal, kept))


def _rows(database: Database, after: int, last: int) -> Iterator[Mapping[str, Any]]:
    """Yield rows by number; an unreadable one has only its number."""
    part: list[Mapping[str, Any]] = [{"sequence": after}]
    while part:
        part = _read_part(database, part[-1]["sequence"], last)
        yield from part


def _read_part(database: Database, after: int, last: int) -> list[Mapping[str, Any]]:
    within = (AuditEvent.sequence > after, AuditEvent.sequence <= last)
    with database.read() as session:
        wanted = select(*_COLUMNS).where(*within).order_by(AuditEvent.sequence).limit(PART)
        try:
            return [dict(row) for row in session.execute(wanted).mappings()]
        except Exception as error:
            if not is_unreadable(error):
                raise
        numbers = select(AuditEvent.sequence).where(*within).order_by(AuditEvent.sequence).limit(PART)
        return [_read_row(session, sequence) for sequence in session.scalars(numbers)]


def _read_row(session: Session, sequence: int) -> Mapping[str, Any]:
    try:
        return dict(session.execute(select(*_COLUMNS).where(AuditEvent.sequence == sequence)).mappings().one())
    except Exception as error:
        if not is_unreadable(error):
            raise
        return {"sequence": sequence}


def _check(database: Database, row: Mapping[str, Any], place: Head) -> Break | None:
    """Verify a row's own hash and its link to the row before it."""
    sequence, expected = row["sequence"], place.sequence + 1
    if sequence > expected:
        return _missing(expected, sequence - 1)
    if sequence < expected:  # SQLite accepts 2.5 as an integer
        return Break(sequence, Fault.INSERTED, f"Row {sequence} was inserted: rows are numbered 1, 2, 3.")
    if not _is_itself(row):
        edited = Break(sequence, Fault.EDITED, f"Row {sequence} was edited: its content does not give its hash.")
        return edited if row.get("previous_hash") == place.hash else _misplaced(database, row, place) or edited
    if row["previous_hash"] != place.hash:
        return _misplaced(database, row, place) or _unjoined(place.sequence, sequence)
    return None


def _is_itself(row: Mapping[str, Any]) -> bool:
    try:
        return bool(digest(row) == row["hash"])
    except Exception as error:
        if not is_unreadable(error):
            raise
        return False  # a value that JSON cannot represent, or an unreadable row


def _misplaced(database: Database, row: Mapping[str, Any], place: Head) -> Break | None:
    """Find the row that this one was written after; None where that is missing."""
    before = row.get("previous_hash")
    with database.read() as session:
        found = session.scalar(select(func.min(AuditEvent.sequence)).where(AuditEvent.hash == before))
    after = START.sequence if before == START.hash else found
    if after is None:
        return None
    if after < place.sequence:
        first = after + 1
        return Break(first, Fault.INSERTED, f"{_rows_named(first, place.sequence)} inserted after row {after}.")
    sequence = row["sequence"]
    return Break(
        sequence, Fault.REORDERED, f"Row {sequence} is out of its place: it was written behind what is row {after} now."
    )


def _compare(place: Head, head: Head | None, name: str) -> Break | None:
    if head is None or place.sequence != head.sequence or place.hash == head.hash:
        return None
    message = f"Row {place.sequence}, or a row before it, was edited and hashed anew: {name} names another hash."
    return Break(place.sequence, Fault.EDITED, message)


def _check_ends(database: Database, place: Head, goal: Head, kept: Head | None) -> Break | None:
    """Compare the last row with the head, and look for rows outside the chain."""
    last = max(goal.sequence, kept.sequence if kept else 0)
    if place.sequence < last:
        return _missing(place.sequence + 1, last)
    head = select(AuditHead.sequence).scalar_subquery()
    outside = or_(AuditEvent.sequence < 1, AuditEvent.sequence > head)
    with database.read() as session:  # one statement, so that both are consistent while rows are appended
        stray = session.scalar(select(func.min(AuditEvent.sequence)).where(outside))
    if stray is None:
        return None
    shown = stray if isinstance(stray, int | float) else ascii(stray)
    return Break(stray, Fault.INSERTED, f"Row {shown} was inserted: it stands outside the chain.")


def _missing(first: int, last: int) -> Break:
    return Break(first, Fault.MISSING, f"{_rows_named(first, last)} removed.")


def _missing_head() -> Break:
    return Break(0, Fault.MISSING, "The head of the trail was removed, so nothing tells whether its end was cut.")


def _unjoined(before: int, sequence: int) -> Break:
    first = max(before, 1)
    which = f"Row {sequence}" if first == sequence else f"Row {before} or row {sequence}"
    return Break(first, Fault.EDITED, f"{which} was edited and hashed anew: the chain does not join there.")


def _rows_named(first: int, last: int) -> str:
    return f"Row {first} was" if first == last else f"Rows {first} to {last} were"
