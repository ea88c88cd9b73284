"""Value types of filters: how each is parsed from a URL, described to programs and offered in forms."""

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
"""A value as in a URL, and its text."""

FIRST_DAY: Final = date(1970, 1, 1)
"""Ids start at this time, and a day in UTC may begin a day earlier."""
LAST_DAY: Final = date(9999, 12, 29)
"""The last day that ends, in every zone, before the latest possible time."""


@dataclass(frozen=True)
class Kind:
    """One type of value."""

    read: Callable[[str], Any]
    """Parse a value from a URL; raise ValueError."""
    ask: Callable[[], str]
    """Describe valid values, for the message about an invalid one."""
    schema: dict[str, Any]
    """JSON schema of the argument, for the OpenAPI document."""
    field: Field
    say: Callable[[Session, Any, User], str] = lambda _db, value, _viewer: str(value)
    """Format a value for the viewer; names are marked up."""
    choices: Callable[[Session, Any, User], Iterable[Choice]] = lambda _db, _value, _viewer: ()
    """List a form's choices for the viewer, given the chosen value, which may not be among the usual ones."""
    is_name: bool = False
    """Whether values are names, which are not translated."""


def one_of(kind: type[StrEnum], name: Callable[[Any], str]) -> Kind:
    """Accept a member of an enumeration; `name` returns its English text."""
    members = list(kind)
    schema = {"type": "string", "enum": [str(member) for member in members]}

    def offered(_db: Session, _chosen: Any, _viewer: User) -> list[Choice]:
        return [(str(member), translate(name(member))) for member in members]

    def say(_db: Session, value: Any, _viewer: User) -> str:
        return translate(name(value))

    return Kind(kind, lambda: ask_for(members), schema, "choice", say, offered)


def ask_for(choices: Sequence[str]) -> str:
    """Describe a choice between some codes."""
    if len(choices) == 2:
        return _("Give %(one)s or %(other)s.", one=choices[0], other=choices[1])
    return _("Give one of %(choices)s.", choices=", ".join(choices))


def share() -> Kind:
    """Accept a number from 0 to 1, without a form field."""
    schema = {"type": "number", "minimum": 0, "maximum": 1}

    def say(_db: Session, value: float, _viewer: User) -> str:
        return _("%(number)s%%", number=_write(value * 100))

    return Kind(read_share, lambda: _("Give a number from 0 to 1."), schema, "hidden", say)


def suspicion() -> Kind:
    """Accept a suspicion from 0 to 100."""
    schema = {"type": "number", "minimum": 0, "maximum": 100}

    def say(_db: Session, value: float, _viewer: User) -> str:
        return _write(value)

    return Kind(read_suspicion, lambda: _("Give a number from 0 to 100."), schema, "number", say)


def _write(value: float) -> str:
    """Write a number with its decimals, at most six digits in all."""
    text = f"{value:g}"
    return text if "e" in text else decimal(value, len(text.partition(".")[2]))


def text(request: str, field: Field = "text", choices: Callable[[Session], Iterable[str]] | None = None) -> Kind:
    """Accept a text, a name; `request` is its English prompt, and a form offers the result of `choices`."""

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
    """Accept an id; `request` is its English prompt, `name` its text on pages, `recent` a form's choices."""

    def say(db: Session, value: uuid.UUID, viewer: User) -> str:
        return mark_name(name(db, value, viewer))

    def offered(db: Session, chosen: uuid.UUID | None, viewer: User) -> list[Choice]:
        choices = [(str(key), said) for key, said in recent(db, viewer)]
        is_missing = chosen is not None and str(chosen) not in dict(choices)
        return [(str(chosen), name(db, chosen, viewer)), *choices] if chosen and is_missing else choices

    schema = {"type": "string", "format": "uuid"}
    return Kind(uuid.UUID, lambda: translate(request), schema, "choice", say, offered, is_name=True)


def fill_in(text: str, **values: object) -> Markup:
    """Fill in the placeholders of a translated text, escaping all values but markup."""
    return Markup(text) % values  # noqa: S704  # the catalog's text is trusted


def mark_name(name: str) -> Markup:
    """Mark up a name, which has its own text direction and is not translated."""
    return Markup("<bdi>{}</bdi>").format(name)


def read_share(value: str) -> float:
    """Parse a number from 0 to 1; raise ValueError."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number


def read_suspicion(value: str) -> float:
    """Parse a number from 0 to 100; raise ValueError."""
    number = float(value)
    if not 0 <= number <= 100:
        raise ValueError(value)
    return number


def read_day(value: str) -> date:
    """Parse a day on which an image can have been sent; raise ValueError."""
    day = date.fromisoformat(value)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(value)
    return day


DAY: Final = Kind(read_day, lambda: _("Give a day such as 2025-01-31."), {"type": "string", "format": "date"}, "day")
