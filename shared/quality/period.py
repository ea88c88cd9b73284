"""A period of whole days in one time zone, and the period of the same length before it."""

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
    """A time range as a range of ids, which begin with their creation time; `end` is exclusive."""

    start: datetime
    end: datetime

    @property
    def ids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """Return the smallest id of the range, and the smallest one after it."""
        return first_id(self.start), first_id(self.end)


@dataclass(frozen=True)
class Period:
    """Whole days; the first and the last are included."""

    since: date
    until: date
    zone: tzinfo

    @property
    def days(self) -> list[tuple[date, Span]]:
        """Return each day with its time range of 23 to 25 hours."""
        count = (self.until - self.since).days + 1
        return [(day, self._span(day, day)) for day in (self.since + n * _DAY for n in range(count))]

    @property
    def span(self) -> Span:
        """Return the time range of the whole period."""
        return self._span(self.since, self.until)

    @property
    def before(self) -> "Period":
        """Return the period of the same length that ends the day before this one."""
        return Period(self.since - (self.until - self.since) - _DAY, self.since - _DAY, self.zone)

    def _span(self, first: date, last: date) -> Span:
        return Span(*(datetime.combine(day, time.min, self.zone) for day in (first, last + _DAY)))
