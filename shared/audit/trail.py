"""Read the audit trail: filters, single pages, and exports as CSV or JSON in constant memory."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from shared.audit.chain import HASHED, is_unreadable, plain
from shared.db import Database
from shared.spreadsheet import neutral, neutral_json
from shared.tables import AuditEvent

COLUMNS: Final = (*HASHED, "hash")
FORMATS: Final = ("csv", "json")
UNREADABLE: Final = "unreadable"
"""The action shown for an unreadable row; 'audit verify' says more about it."""
PART: Final = 1000
"""Rows in memory at once, and per transaction."""


@dataclass(frozen=True)
class TrailFilters:
    """Filter the trail; None does not filter. Days are in UTC, and `until` is inclusive."""

    person: str | None = None
    action: str | None = None
    subject: str | None = None
    since: date | None = None
    until: date | None = None

    def to_args(self) -> dict[str, str]:
        """Return the active filters as texts, for URLs and for an export's own audit row."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the filters as SQL over audit events."""
        if self.person is not None:
            yield AuditEvent.actor == self.person
        if self.action is not None:
            yield AuditEvent.action == self.action
        if self.subject is not None:
            yield AuditEvent.subject == self.subject
        if self.since is not None:
            yield AuditEvent.created_at >= _start(self.since)
        if self.until is not None:
            yield AuditEvent.created_at < _start(self.until) + timedelta(days=1)


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def row_values(event: AuditEvent) -> dict[str, Any]:
    """Return a row's hashed values and its hash, with which a reader can verify it without this program."""
    return plain({name: getattr(event, name) for name in COLUMNS})


def read_events(session: Session, query: Select[AuditEvent]) -> list[AuditEvent]:
    """Return the rows of a query; one not written by our programs only has its number and the action UNREADABLE."""
    try:
        found = list(session.scalars(query))
    except Exception as error:
        if not is_unreadable(error):
            raise
        numbers = session.scalars(query.with_only_columns(AuditEvent.sequence)).all()
        found = [_read_event(session, number) for number in numbers]
    return [event if _is_sound(event) else _unreadable(event.sequence) for event in found]


def _read_event(session: Session, sequence: int) -> AuditEvent:
    try:
        return session.scalars(select(AuditEvent).where(AuditEvent.sequence == sequence)).one()
    except Exception as error:
        if not is_unreadable(error):
            raise
        return _unreadable(sequence)


def _is_sound(event: AuditEvent) -> bool:
    texts = (event.action, event.actor or "", event.subject or "", event.address or "", event.hash, event.previous_hash)
    is_text = all(isinstance(text, str) for text in (*texts, *_texts_of(event.detail)))
    return is_text and isinstance(event.sequence, int) and isinstance(event.created_at, datetime)


def _texts_of(detail: object) -> Iterator[object]:
    """Yield the values of a row's detail that must be text."""
    if isinstance(detail, dict):
        yield from detail
        yield from detail.values()
    elif detail is not None:
        yield None


def _unreadable(sequence: object) -> AuditEvent:
    epoch = datetime.fromtimestamp(0, UTC)
    return AuditEvent(sequence=sequence, action=UNREADABLE, created_at=epoch, detail=None, actor=None)


def iterate_events(database: Database, filters: TrailFilters) -> Iterator[AuditEvent]:
    """Yield the filtered rows, oldest first, up to the newest one at the start."""
    with database.read() as session:
        last = session.scalar(select(func.max(AuditEvent.sequence))) or 0
    wanted = select(AuditEvent).where(AuditEvent.sequence <= last, *filters.conditions())
    after = 0
    while True:
        query = wanted.where(AuditEvent.sequence > after).order_by(AuditEvent.sequence).limit(PART)
        with database.read() as session:
            part = read_events(session, query)
        if not part:
            return
        yield from part
        after = part[-1].sequence


def write_trail(events: Iterable[AuditEvent], form: str) -> Iterator[str]:
    """Yield a file of events in pieces; `form` is one of FORMATS."""
    return _csv(events) if form == "csv" else _json(events)


def _csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for event in events:
        values = row_values(event)
        writer.writerow([_cell(values.get(name)) for name in COLUMNS])
        if out.tell() > io.DEFAULT_BUFFER_SIZE:
            yield _emptied(out)
    yield _emptied(out)


def _emptied(out: io.StringIO) -> str:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return neutral_json(value)
    return neutral(value) if isinstance(value, str) else value


def _json(events: Iterable[AuditEvent]) -> Iterator[str]:
    separator = '{"events": [\n'
    for event in events:
        yield separator + json.dumps(row_values(event), default=ascii)
        separator = ",\n"
    yield ("" if separator == ",\n" else separator) + "\n]}\n"
