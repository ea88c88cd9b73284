"""Kinds of values that filters take: how each is read from an address, described to programs and asked for."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from shared.tables import User
from web.base.paging import text as read_text

Field = Literal["text", "number", "day", "choice", "hidden"]
Choice = tuple[str, str]
"""A value as an address holds it, and its words."""

FIRST_DAY: Final = date(1970, 1, 1)
"""Ids count from here, and a day in UTC has one before it."""
LAST_DAY: Final = date(9999, 12, 29)
"""The last that ends, in every zone, before the last time there is."""


@dataclass(frozen=True)
class Kind:
    """One kind of value."""

    read: Callable[[str], Any]
    """Read a value from an address; raise ValueError."""
    expected: str
    """What to give, for the message where something else was given."""
    schema: dict[str, Any]
    """JSON schema of the argument, for the OpenAPI document."""
    field: Field
    say: Callable[[Session, Any, User], str] = lambda _db, value, _viewer: str(value)
    """Write a value for whoever looks."""
    choices: Callable[[Session, Any], Iterable[Choice]] = lambda _db, _value: ()
    """List what a form offers; given the value that is chosen, which may be none of the usual ones."""


def one_of(kind: type[StrEnum], name: Callable[[Any], str]) -> Kind:
    """Take a member of an enumeration; `name` gives its words."""
    members = list(kind)
    schema = {"type": "string", "enum": [str(member) for member in members]}
    expected = " or ".join(members) if len(members) == 2 else "one of " + ", ".join(members)
    choices = [(str(member), name(member)) for member in members]
    return Kind(kind, expected, schema, "choice", lambda _db, value, _viewer: name(value), lambda _db, _value: choices)


def share() -> Kind:
    """Take a number from 0 to 1, which no form asks for."""
    schema = {"type": "number", "minimum": 0, "maximum": 1}
    return Kind(read_share, "a number from 0 to 1", schema, "hidden", lambda _db, value, _v: f"{value * 100:g}%")


def suspicion() -> Kind:
    """Take a suspicion from 0 to 100."""
    schema = {"type": "number", "minimum": 0, "maximum": 100}
    return Kind(read_suspicion, "a number from 0 to 100", schema, "number", lambda _db, value, _viewer: f"{value:g}")


def text(expected: str, field: Field = "text", choices: Callable[[Session], Iterable[str]] | None = None) -> Kind:
    """Take a text; a form offers what `choices` finds in the database."""

    def offered(db: Session, _chosen: str | None) -> list[Choice]:
        return [(value, value) for value in (choices(db) if choices else ())]

    return Kind(read_text, expected, {"type": "string"}, field, choices=offered)


def identifier(expected: str, say: Callable[[Session, uuid.UUID, User], str]) -> Kind:
    """Take an id, which no form asks for."""
    return Kind(uuid.UUID, expected, {"type": "string", "format": "uuid"}, "hidden", say)


def read_share(value: str) -> float:
    """Read a number from 0 to 1; raise ValueError."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def read_suspicion(value: str) -> float:
    """Read a number from 0 to 100; raise ValueError."""
    number = float(value)
    if not 0 <= number <= 100:
        raise ValueError(value)
    return number


def read_day(value: str) -> date:
    """Read a day that an image can have been sent on; raise ValueError."""
    day = date.fromisoformat(value)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(value)
    return day


DAY: Final = Kind(read_day, "a day such as 2025-01-31", {"type": "string", "format": "date"}, "day")
