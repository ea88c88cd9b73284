"""Leases of single scores: code that `asked_scores` and `shadow_scores` share.

As with `shared.queue.leases`, a worker extends its lease, and only the sweep frees stalled ones: clocks of machines
differ, so no worker decides by its own clock whether another's lease has expired.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from shared.db import now, row_count
from shared.tables import AskedScore, ShadowScore

ScoreTable = type[AskedScore] | type[ShadowScore]
_TABLES: Final[tuple[ScoreTable, ...]] = (AskedScore, ShadowScore)


@dataclass(frozen=True)
class HeldScore:
    """A score that a worker is to compute, under one lease."""

    table: ClassVar[ScoreTable]
    score_id: uuid.UUID
    attempt: int
    """Tells this lease from an earlier one: each has the next number, and a lease released uncounted is not held."""
    image_id: uuid.UUID
    sha256: str


def is_free(table: ScoreTable) -> tuple[ColumnElement[bool], ...]:
    """Match scores that are not computed and that no worker holds."""
    return table.finished_at.is_(None), table.lease_until.is_(None)


def is_own(held: HeldScore) -> tuple[ColumnElement[bool], ...]:
    """Match a score while it is held under this lease."""
    table = held.table
    return table.id == held.score_id, table.attempts == held.attempt, table.lease_until.is_not(None)


def take(score: AskedScore | ShadowScore, lease_seconds: float) -> int:
    """Lease a free score, whose row is locked, for so long, and return the number of this attempt."""
    score.attempts, score.lease_until = score.attempts + 1, now() + timedelta(seconds=lease_seconds)
    return score.attempts


def extend(session: Session, held: HeldScore, lease_seconds: float) -> bool:
    """Extend a lease; False where it is lost."""
    return _write(session, held, lease_until=now() + timedelta(seconds=lease_seconds))


def settle(session: Session, held: HeldScore, values: Mapping[str, Any]) -> bool:
    """Write the outcome of a claimed score; False where the lease is lost."""
    return _write(session, held, **values, finished_at=now(), lease_until=None)


def release(session: Session, held: HeldScore, *, counts: bool) -> bool:
    """Release a claimed score; the attempt `counts` unless neither the image nor a worker is to blame."""
    return _write(session, held, lease_until=None, attempts=held.attempt - (0 if counts else 1))


def find_held(session: Session) -> dict[uuid.UUID, datetime]:
    """Return every held score by its id, with its lease's expiry time, which each extension moves."""
    held: dict[uuid.UUID, datetime] = {}
    for table in _TABLES:
        rows = select(table.id, table.lease_until).where(table.finished_at.is_(None), table.lease_until.is_not(None))
        held |= {key: until for key, until in session.execute(rows) if until}
    return held


def free(session: Session, run_out: Mapping[uuid.UUID, datetime]) -> int:
    """Free scores of lost workers, as returned by `find_held`, and return how many; leases extended since stay."""
    freed = 0
    for table in _TABLES:
        for key, until in run_out.items():
            lost = update(table).where(table.id == key, table.lease_until == until)
            freed += row_count(session.execute(lost.values(lease_until=None)))
    return freed


def _write(session: Session, held: HeldScore, **values: Any) -> bool:
    return row_count(session.execute(update(held.table).where(*is_own(held)).values(**values))) == 1
