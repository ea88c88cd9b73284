"""Scan runs of an index in the order of a list, reading a bounded number of entries.

A list is ordered by a key. A run is the part of an index with the same leading values: it is in the order of the key,
so that a page is read without sorting. Other conditions are tested entry by entry. An unfinished search returns how far
it got, so that the caller can continue from there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from shared.tables import Screening
from web.base.paging import Place, beyond, in_order, up_to
from web.lists.conditions import Test

Run = tuple[ColumnElement[bool], ...]
"""The conditions of a run of an index: what it holds under the same leading values."""

MOST_ENTRIES: Final = 40_000
"""The most entries that one search scans; PostgreSQL scans about five million a second."""
MOST_ROWS: Final = 8_000
"""The most rows that one search reads for a test without an index, where rows are stored in list order."""
MOST_SCATTERED: Final = 3000
"""The same where rows are stored in any order."""

_FIRST_STEP: Final = 500
_LONGER: Final = 10


@dataclass(frozen=True)
class Search:
    """A search: which images, in which order, by which runs."""

    runs: tuple[Run, ...]
    """They must not overlap."""
    tests: tuple[Test, ...] = ()
    """Further conditions on the images."""
    indexed: frozenset[str] | None = None
    """Columns in the runs' index; None where the runs scan the rows themselves."""
    most: int | None = None
    """How many entries to scan; None for the most that one search may."""
    sorted_by: tuple[Any, ...] = ()
    """Where the runs have few images, which are all read and sorted: the columns that order their index."""
    key: tuple[InstrumentedAttribute[Any], ...] = (Screening.id,)
    """The columns that order the list, the largest values first; together they are unique."""

    @property
    def row_tests(self) -> tuple[Test, ...]:
        """Return the tests that the index cannot answer."""
        return tuple(test for test in self.tests if not set(test.columns) <= (self.indexed or set()))

    @property
    def entries(self) -> int:
        """Return how many entries to scan in all."""
        if self.most is not None:
            return self.most
        if not any(test.is_of_rows for test in self.row_tests):
            return MOST_ENTRIES
        return MOST_SCATTERED if Screening.p_pneumonia in self.key else MOST_ROWS


@dataclass(frozen=True)
class Found:
    """The places of images, in the order in which they were found."""

    places: list[Place]
    reached: Place | None = None
    """How far was searched, where neither enough images nor the end was found."""


@dataclass
class _Way:
    """The progress of searching a run."""

    search: Search
    run: Run
    at: Place | None
    found: list[Place] = field(default_factory=list)
    is_over: bool = False
    bound: Place | None = None
    """Where to stop: other runs have a full page up to there."""

    def edge(self, size: int) -> Place | None:
        """Return the last place up to which all images are known; None where all are."""
        if len(self.found) >= size:
            return self.found[-1]
        return None if self.is_over else self.at

    def is_past(self, bound: Place | None, *, later: bool) -> bool:
        """Tell whether the run has already been searched up to a place."""
        if bound is None or self.at is None:
            return False
        return self.at <= bound if later else self.at >= bound

    def end(self) -> None:
        """Record that all was searched, up to the bound if there is one."""
        self.at, self.is_over = self.bound or self.at, self.bound is None


def go_along(
    session: Session, searches: Sequence[Search], start: Place | None, size: int, *, later: bool = True
) -> Found:
    """Find up to `size` images after a place, nearest first, or before it where not `later`.

    The searches must not overlap, and must have the same order.
    """
    ways = [_Way(search, run, start) for search in searches for run in search.runs]
    for way in ways:
        if way.search.sorted_by:
            way.found, way.is_over = _sort(session, way, size, later=later), True
    found = _merge(ways, size, later=later)
    open_ways = [way for way in ways if not way.is_over]
    for step in _steps(searches, len(open_ways)):
        for way in open_ways:
            bound = _bound(ways, size, later=later)
            if not way.is_over and len(way.found) < size and not way.is_past(bound, later=later):
                way.bound = bound
                _go_on(session, way, step, size, later=later)
        found = _merge(ways, size, later=later)
        if len(found.places) == size or found.reached is None:
            break
    return found


def tally(
    session: Session, searches: Iterable[Search], start: Place | None, most: int, *, later: bool = True
) -> tuple[int, bool]:
    """Count images after a place, or before it where not `later`, up to `most`; and tell whether those are all.

    Runs are counted one after the other inside the database: reading and sorting a thousand images took a quarter of
    the time of the worklist's page.
    """
    total, is_whole = 0, True
    for search in searches:
        for run in search.runs:
            way = _Way(search, run, start)
            total += _count_run(session, way, most - total, later=later)
            is_whole = is_whole and way.is_over
            if total >= most:
                return total, False
    return total, is_whole


def _count_run(session: Session, way: _Way, most: int, *, later: bool) -> int:
    """Count the images of a run, as far as one search scans it."""
    if way.search.sorted_by:
        way.is_over = True
        return _count(session, _sorted(way, later=later).order_by(None), most)
    if not way.search.tests:
        way.is_over = True
        return _count(session, _entries(way, way.search.key, later=later), most)
    total = 0
    *shorter, longest = _steps([way.search], len(way.search.runs))
    for step in shorter:
        met = _next_entries(way, step, later=later)
        total += _count(session, _passing(way.search, met, later=later).order_by(None), most - total)
        if total >= most:
            return total
        _move_on(session, way, step, later=later)
        if way.is_over:
            return total
    met = _next_entries(way, longest, later=later)
    passes = and_(*_conditions(way.search, met))
    query = select(func.count(), func.count(case((passes, 1)))).select_from(met)
    entries, images = session.execute(query).one()  # both at once: finding the last entry would take as long again
    way.is_over = entries < longest
    return total + min(images, most - total)


def _count(session: Session, query: Select[Any], most: int) -> int:
    return session.scalar(select(func.count()).select_from(query.limit(most).subquery())) or 0


def _steps(searches: Sequence[Search], runs: int) -> Iterator[int]:
    """Yield how many entries of each run to scan, more each time."""
    left = min((search.entries for search in searches if not search.sorted_by), default=0) // max(1, runs)
    step = _FIRST_STEP
    while left > 0:
        yield min(step, left)
        left -= step
        step *= _LONGER


def _bound(ways: Sequence[_Way], size: int, *, later: bool) -> Place | None:
    """Return the latest place at which a page ends, by what is found so far."""
    places = sorted((place for way in ways for place in way.found), reverse=later)
    return places[size - 1] if len(places) >= size else None


def _merge(ways: Sequence[_Way], size: int, *, later: bool) -> Found:
    """Merge the runs as far as all of them are known."""
    edges = [edge for edge in (way.edge(size) for way in ways) if edge is not None]
    edge = (max if later else min)(edges, default=None)
    places = sorted((place for way in ways for place in way.found), reverse=later)
    known = [place for place in places if edge is None or (place >= edge if later else place <= edge)]
    return Found(known[:size], None if edge is None or len(known) >= size else edge)


def _go_on(session: Session, way: _Way, step: int, size: int, *, later: bool) -> None:
    """Scan the next entries of a run."""
    wanted = size - len(way.found)
    keys = _entries(way, way.search.key, later=later)
    if not way.search.tests:
        way.found += (more := _places(session, keys.limit(wanted)))
        if len(more) < wanted:
            way.end()
        return
    met = _next_entries(way, step, later=later)
    way.found += (more := _places(session, _passing(way.search, met, later=later).limit(wanted)))
    if len(more) < wanted:
        _move_on(session, way, step, later=later)


def _move_on(session: Session, way: _Way, step: int, *, later: bool) -> None:
    """Record how far a run was scanned."""
    keys = _entries(way, way.search.key, later=later)
    last = _places(session, keys.offset(step - 1).limit(1))
    if last:
        way.at = last[0]
    else:
        way.end()


def _sort(session: Session, way: _Way, size: int, *, later: bool) -> list[Place]:
    """Read and sort all images of a run, and return those next to a place."""
    return _places(session, _sorted(way, later=later).limit(size))


def _sorted(way: _Way, *, later: bool) -> Select[Any]:
    """Select the images of a run after a place, reading the whole run."""
    # Materialized and in the order of its index, so that the database does not scan countless images along another
    # index: it cannot know how few there are.
    read = select(*_columns(way.search)).where(*way.run).order_by(*way.search.sorted_by)
    few = read.cte("few").prefix_with("MATERIALIZED")
    key = [few.c[column.key] for column in way.search.key]
    has_key = [column.is_not(None) for column in key[:-1]]
    return _passing(way.search, few, later=later).where(*has_key, *beyond(key, way.at, descending=later))


def _entries(way: _Way, columns: Sequence[Any], *, later: bool) -> Select[Any]:
    """Select the next entries of a run, in order."""
    key = way.search.key
    within = (*beyond(key, way.at, descending=later), *up_to(key, way.bound, descending=later))
    return select(*columns).where(*way.run, *within).order_by(*in_order(key, later))


def _next_entries(way: _Way, step: int, *, later: bool) -> FromClause:
    """Select the next `step` entries of a run with what its tests read."""
    return _entries(way, _columns(way.search), later=later).limit(step).subquery()


def _columns(search: Search) -> list[Any]:
    """Return what to read of each entry."""
    names = {column.key for column in search.key} | {name for test in search.tests for name in test.columns}
    if search.indexed is not None:
        # Only columns of the index: for others PostgreSQL may scan all rows instead and filter those of the run.
        names &= search.indexed
    return [getattr(Screening, name) for name in sorted(names)]


def _passing(search: Search, met: FromClause, *, later: bool) -> Select[Any]:
    """Select the places of entries that pass the tests, in order; rows are read for columns not in the index."""
    key = [met.c[column.key] for column in search.key]
    return select(*key).where(*_conditions(search, met)).order_by(*in_order(key, later))


def _conditions(search: Search, met: FromClause) -> list[ColumnElement[bool]]:
    """Return the tests of entries as SQL."""
    apart = search.row_tests if search.indexed is not None else ()
    conditions = [test.of(met.c) for test in search.tests if test not in apart]
    if apart:
        # Not a join, for which PostgreSQL may read the whole table instead of each of these rows.
        row = aliased(Screening)
        tested = select(and_(*[test.of(row) for test in apart])).where(row.id == met.c.id)
        conditions.append(tested.scalar_subquery())
    return conditions


def _places(session: Session, query: Select[Any]) -> list[Place]:
    return [tuple(row) for row in session.execute(query)]
