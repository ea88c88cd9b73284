"""Lists a page at a time by key, forwards and backwards; without an offset the last page costs what the first does."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from web.problems import InvalidRequest

T = TypeVar("T")

MOST_ROWS: Final = 500
_AFTER: Final = "after"
_BEFORE: Final = "before"


class FilterError(InvalidRequest):
    """Say which filter cannot be used and why."""


@dataclass(frozen=True)
class Key(Generic[T]):
    """What a list is ordered by: one or two columns that are unique together and go one way."""

    columns: tuple[InstrumentedAttribute[Any], ...]
    readers: tuple[Callable[[Any], Any], ...]
    """Turn a cursor's values into the columns' own types."""
    values: Callable[[T], list[Any]]
    """Give a row's values as a cursor holds them."""
    descending: bool = True


@dataclass(frozen=True)
class Turned(Generic[T]):
    """One page of rows, and the cursors of the pages on both sides; None where there is none."""

    rows: list[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None


def turn(
    fetch: Callable[[Select[Any]], Sequence[T]], query: Select[Any], key: Key[T], cursor: str | None, limit: int
) -> Turned[T]:
    """Turn to one page of an unordered query, which `fetch` runs. Raises FilterError for a bad cursor."""
    size = max(1, min(limit, MOST_ROWS))
    way, values = _read(cursor, key) if cursor else (_AFTER, ())
    if way == _BEFORE:
        return _turn_back(fetch, query, key, values, size)
    if values:
        query = query.where(_beyond(key, values, key.descending))
    # One more than asked tells whether there is another page.
    rows = list(fetch(_sort(query, key, key.descending).limit(size + 1)))
    shown = rows[:size]
    following = _write(_AFTER, shown[-1], key) if len(rows) > size else None
    return Turned(shown, following, _write(_BEFORE, shown[0], key) if values and shown else None)


def _turn_back(
    fetch: Callable[[Select[Any]], Sequence[T]], query: Select[Any], key: Key[T], values: Sequence[Any], size: int
) -> Turned[T]:
    back = query.where(_beyond(key, values, not key.descending))
    rows = list(fetch(_sort(back, key, not key.descending).limit(size + 1)))
    if len(rows) <= size:  # the top: a whole first page, with what is new since
        return turn(fetch, query, key, None, size)
    shown = rows[:size][::-1]
    return Turned(shown, _write(_AFTER, shown[-1], key), _write(_BEFORE, shown[0], key))


def _sort(query: Select[Any], key: Key[T], descending: bool) -> Select[Any]:
    return query.order_by(*[column.desc() if descending else column.asc() for column in key.columns])


def _beyond(key: Key[T], values: Sequence[Any], descending: bool) -> ColumnElement[bool]:
    """Match what comes after these values; (a, b) < (x, y) is a <= x AND (a < x OR b < y)."""
    (column, *others), (value, *ties) = key.columns, values
    strictly = column < value if descending else column > value
    if not others:
        return strictly
    (other,), (tie,) = others, ties
    # The first term alone bounds the index; the second settles equal values.
    loosely = column <= value if descending else column >= value
    return and_(loosely, or_(strictly, other < tie if descending else other > tie))


def _write(way: str, row: T, key: Key[T]) -> str:
    return base64.urlsafe_b64encode(json.dumps([way, *key.values(row)]).encode()).decode().rstrip("=")


def _read(cursor: str, key: Key[T]) -> tuple[str, list[Any]]:
    try:
        way, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if way not in {_AFTER, _BEFORE}:
            raise ValueError(way)
        return way, [read(value) for read, value in zip(key.readers, values, strict=True)]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise FilterError("cursor", "Take it from the answer before, unchanged.") from error
