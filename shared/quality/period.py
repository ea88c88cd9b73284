"""A stretch of whole days in one time zone, and the stretch of the same length before it."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

from shared.db import first_id

MOST_DAYS: Final = 92
"""Three months."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """A stretch of time by ids, which begin with when they were made; `end` is not part of it."""

    start: datetime
    end: datetime

    @property
    def ids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """Return the least id of the stretch, and the least after it."""
        return first_id(self.start), first_id(self.end)


@dataclass(frozen=True)
class Period:
    """Whole days, the first and the last of which count."""

    since: date
    until: date
    zone: tzinfo

    @property
    def days(self) -> list[tuple[date, Span]]:
        """Return each day with its own stretch of time: 23 to 25 hours."""
        count = (self.until - self.since).days + 1
        return [(day, self._span(day, day)) for day in (self.since + n * _DAY for n in range(count))]

    @property
    def span(self) -> Span:
        """Return the whole stretch."""
        return self._span(self.since, self.until)

    @property
    def before(self) -> "Period":
        """Return as many days as this has, the last of them the day before it."""
        return Period(self.since - (self.until - self.since) - _DAY, self.since - _DAY, self.zone)

    def _span(self, first: date, last: date) -> Span:
        return Span(*(datetime.combine(day, time.min, self.zone) for day in (first, last + _DAY)))
