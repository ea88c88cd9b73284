"""Kinds of values that filters take: how each is read from an address, described to programs and asked for."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final, Literal

from markupsafe import Markup
from sqlalchemy.orm import Session

from shared.tables import User
from web.base.paging import text as read_text
from web.languages.text import _, decimal, translate

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
    ask: Callable[[], str]
    """Say what to give, for the message where something else was given."""
    schema: dict[str, Any]
    """JSON schema of the argument, for the OpenAPI document."""
    field: Field
    say: Callable[[Session, Any, User], str] = lambda _db, value, _viewer: str(value)
    """Write a value for whoever looks; names are marked as such."""
    choices: Callable[[Session, Any, User], Iterable[Choice]] = lambda _db, _value, _viewer: ()
    """List what a form offers whoever looks; given the value that is chosen, which may be none of the usual ones."""
    is_name: bool = False
    """Whether values are names, which are not translated."""


def one_of(kind: type[StrEnum], name: Callable[[Any], str]) -> Kind:
    """Take a member of an enumeration; `name` gives its words in English."""
    members = list(kind)
    schema = {"type": "string", "enum": [str(member) for member in members]}

    def offered(_db: Session, _chosen: Any, _viewer: User) -> list[Choice]:
        return [(str(member), translate(name(member))) for member in members]

    def say(_db: Session, value: Any, _viewer: User) -> str:
        return translate(name(value))

    return Kind(kind, lambda: ask_for(members), schema, "choice", say, offered)


def ask_for(choices: Sequence[str]) -> str:
    """Say that one of some codes is to be given."""
    if len(choices) == 2:
        return _("Give %(one)s or %(other)s.", one=choices[0], other=choices[1])
    return _("Give one of %(choices)s.", choices=", ".join(choices))


def share() -> Kind:
    """Take a number from 0 to 1, which no form asks for."""
    schema = {"type": "number", "minimum": 0, "maximum": 1}

    def say(_db: Session, value: float, _viewer: User) -> str:
        return _("%(number)s%%", number=_write(value * 100))

    return Kind(read_share, lambda: _("Give a number from 0 to 1."), schema, "hidden", say)


def suspicion() -> Kind:
    """Take a suspicion from 0 to 100."""
    schema = {"type": "number", "minimum": 0, "maximum": 100}

    def say(_db: Session, value: float, _viewer: User) -> str:
        return _write(value)

    return Kind(read_suspicion, lambda: _("Give a number from 0 to 100."), schema, "number", say)


def _write(value: float) -> str:
    """Write a number with the decimals that it has, at most six digits in all."""
    text = f"{value:g}"
    return text if "e" in text else decimal(value, len(text.partition(".")[2]))


def text(request: str, field: Field = "text", choices: Callable[[Session], Iterable[str]] | None = None) -> Kind:
    """Take a text, which is a name; `request` asks for it in English, and a form offers what `choices` finds."""

    def offered(db: Session, _chosen: str | None, _viewer: User) -> list[Choice]:
        return [(value, value) for value in (choices(db) if choices else ())]

    return Kind(read_text, lambda: translate(request), {"type": "string"}, field, _say_name, offered, is_name=True)


def _say_name(_db: Session, value: str, _viewer: User) -> str:
    return mark_name(value)


def identifier(
    request: str,
    name: Callable[[Session, uuid.UUID, User], str],
    recent: Callable[[Session, User], Sequence[tuple[uuid.UUID, str]]],
) -> Kind:
    """Take an id; `request` asks for it in English, `name` is what pages say instead, `recent` what a form offers."""

    def say(db: Session, value: uuid.UUID, viewer: User) -> str:
        return mark_name(name(db, value, viewer))

    def offered(db: Session, chosen: uuid.UUID | None, viewer: User) -> list[Choice]:
        choices = [(str(key), said) for key, said in recent(db, viewer)]
        is_missing = chosen is not None and str(chosen) not in dict(choices)
        return [(str(chosen), name(db, chosen, viewer)), *choices] if chosen and is_missing else choices

    schema = {"type": "string", "format": "uuid"}
    return Kind(uuid.UUID, lambda: translate(request), schema, "choice", say, offered, is_name=True)


def fill_in(text: str, **values: object) -> Markup:
    """Fill the values of a translated text in, where some of them are markup and the others may be anything."""
    return Markup(text) % values  # noqa: S704  # a catalog's text is ours


def mark_name(name: str) -> Markup:
    """Mark a name, which has a direction of its own and is not translated."""
    return Markup("<bdi>{}</bdi>").format(name)


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


DAY: Final = Kind(read_day, lambda: _("Give a day such as 2025-01-31."), {"type": "string", "format": "date"}, "day")
