"""Keyset pagination, forwards and backwards; without OFFSET the last page costs as much as the first."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from web.base.problems import InvalidRequest

T = TypeVar("T")

Place = tuple[Any, ...]
"""A row's key values, unique together."""
Find = Callable[[Place | None, int, bool], tuple[list[Place], Place | None]]
"""Finds up to so many places after a place, or before it where False, nearest first; and how far it searched."""

MOST_ROWS: Final = 500
_AFTER: Final = "after"
_BEFORE: Final = "before"
_LONGEST: Final = 256
_LARGEST: Final = 2**31 - 1
"""The largest INTEGER in PostgreSQL, the type of positions and counts."""
_LARGEST_BIG: Final = 2**63 - 1
"""The largest BIGINT, the type of the audit trail's numbers."""


class FilterError(InvalidRequest):
    """Say which filter is invalid and why."""


@dataclass(frozen=True)
class Key(Generic[T]):
    """The key that orders a list: columns unique together, all in the same direction."""

    columns: tuple[InstrumentedAttribute[Any], ...]
    readers: tuple[Callable[[Any], Any], ...]
    """Convert a cursor's values to the columns' types."""
    values: Callable[[T], Place]
    """Return the place of a row in the list."""
    descending: bool = True


@dataclass(frozen=True)
class PageOf(Generic[T]):
    """One page of rows, and the cursors of the previous and next page; None where there is none."""

    rows: list[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None
    reached: tuple[Any, ...] | None = None
    """How far was searched, if a search for rare rows was cut short; the page then has fewer rows than requested."""


def walk(find: Find, readers: Sequence[Callable[[Any], Any]], cursor: str | None, limit: int) -> PageOf[Place]:
    """Return one page of places, found by `find`; a page may be short and yet not the last.

    Raises FilterError for a bad cursor.
    """
    size = _size(limit)
    way, start = _read(cursor, readers) if cursor else (_AFTER, None)
    if way == _BEFORE:
        return _walk_back(find, readers, start, size)
    places, reached = find(start, size + 1, True)
    shown = places[:size]
    end = shown[-1] if len(places) > size else reached
    before = (shown[0] if shown else start) if start is not None else None
    return PageOf(shown, _encode(_AFTER, end), _encode(_BEFORE, before), reached)


def _walk_back(find: Find, readers: Sequence[Callable[[Any], Any]], start: Place | None, size: int) -> PageOf[Place]:
    places, reached = find(start, size + 1, False)
    if len(places) <= size and reached is None:  # the top: a full first page, with newer rows
        return walk(find, readers, None, size)
    shown = places[:size][::-1]
    before = shown[0] if len(places) > size else reached
    return PageOf(shown, _encode(_AFTER, shown[-1] if shown else start), _encode(_BEFORE, before), reached)


def _encode(way: str, place: Place | None) -> str | None:
    return None if place is None else _write(way, [str(v) if isinstance(v, uuid.UUID) else v for v in place])


def _size(limit: int) -> int:
    return max(1, min(limit, MOST_ROWS))


def turn(
    fetch: Callable[[Select[Any]], Sequence[T]], query: Select[Any], key: Key[T], cursor: str | None, limit: int
) -> PageOf[T]:
    """Return one page of an unordered query, which `fetch` runs. Raises FilterError for a bad cursor."""
    rows: dict[Place, T] = {}

    def find(start: Place | None, size: int, later: bool) -> tuple[list[Place], Place | None]:
        descending = key.descending is later
        near = query.where(*beyond(key.columns, start, descending=descending))
        found = {key.values(row): row for row in fetch(near.order_by(*in_order(key.columns, descending)).limit(size))}
        rows.update(found)
        return list(found), None

    page = walk(find, key.readers, cursor, limit)
    return PageOf([rows[place] for place in page.rows], page.next_cursor, page.previous_cursor)


def in_order(columns: Sequence[Any], descending: bool) -> list[Any]:
    """Order by all columns of a key in one direction."""
    return [column.desc() if descending else column.asc() for column in columns]


def beyond(columns: Sequence[Any], place: Place | None, *, descending: bool) -> Iterator[ColumnElement[bool]]:
    """Match rows after a place; (a, b) < (x, y) is a <= x AND (a < x OR b < y)."""
    if place is None:
        return
    column, value = columns[0], place[0]
    strictly: ColumnElement[bool] = column < value if descending else column > value
    if len(columns) == 1:
        yield strictly
        return
    # The first term alone bounds the index range; the second handles equal values.
    yield column <= value if descending else column >= value
    yield or_(strictly, and_(*beyond(columns[1:], place[1:], descending=descending)))


def up_to(columns: Sequence[Any], place: Place | None, *, descending: bool) -> Iterator[ColumnElement[bool]]:
    """Match rows before a place, and the row at it."""
    if place is None:
        return
    column, value = columns[0], place[0]
    yield column >= value if descending else column <= value
    if len(columns) > 1:
        strictly: ColumnElement[bool] = column > value if descending else column < value
        yield or_(strictly, and_(*up_to(columns[1:], place[1:], descending=descending)))


def _write(way: str, values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([way, *values]).encode()).decode().rstrip("=")


def whole(value: object, largest: int = _LARGEST) -> int:
    """Check an integer that an INTEGER column can hold; raise ValueError."""
    if type(value) is not int or not 0 <= value <= largest:  # bool is a subclass of int, and 1e30 is a float
        raise ValueError(value)
    return value


def large_whole(value: object) -> int:
    """Check an integer that a BIGINT column can hold; raise ValueError."""
    return whole(value, _LARGEST_BIG)


def share(value: object) -> float:
    """Check a number from 0 to 1, not NaN; raise ValueError."""
    if not isinstance(value, float | int) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


def text(value: object) -> str:
    """Check a text that every database accepts; raise ValueError."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    value.encode()  # no lone surrogate
    return value


def key(value: object) -> uuid.UUID:
    """Parse an id; raise ValueError."""
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004  # a cursor is input, and this reports it as invalid
    return uuid.UUID(value)


def _read(cursor: str, readers: Sequence[Callable[[Any], Any]]) -> tuple[str, Place]:
    try:
        if len(cursor) > _LONGEST:  # ours have two values; deeply nested JSON is costly to parse
            raise ValueError(len(cursor))
        way, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if way not in {_AFTER, _BEFORE}:
            raise ValueError(way)
        return way, tuple(read(value) for read, value in zip(readers, values, strict=True))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise FilterError("cursor", "Take it from the answer before, unchanged.") from error
