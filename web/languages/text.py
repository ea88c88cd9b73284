"""The functions that texts of the pages are marked with, so that `make translations` finds them.

`_("Sign out")`, `_("The job %(name)s has ended.", name=job.name)`: the text in the language of the reader.
`plural(3, "%(count)s X-ray", "%(count)s X-rays")`: the form that goes with the number, which is written as there.
`N_("Waiting")`: the text as it is, for tables made before anybody asks; who shows it translates it with `_`.
`pgettext("a message", "Sent")`, `NC_("a message", "Sent")`: `_` and `N_` for a text that elsewhere stands for something
else, so that other languages need another word or another gender there; the context, which comes first, tells which.
"""

from typing import Self

import flask_babel
from babel.numbers import get_decimal_symbol, get_group_symbol
from flask_babel import lazy_gettext

from shared.errors import TranslatableError
from shared.languages.formats import is_english, write_count

__all__ = ["NC_", "N_", "_", "count", "decimal", "gettext", "lazy", "pgettext", "plural", "say", "translate"]

lazy = lazy_gettext
"""For the labels and messages of forms, which are made before anybody asks and shown by a library."""


def N_(text: str) -> str:  # noqa: N802  # its name wherever gettext is used
    """Return a text as it is; it is translated when it is shown."""
    return text


class TextInContext(str):
    """A text and what tells it from others that are written alike; where nobody translates it, it is the text."""

    __slots__ = ("context",)

    def __new__(cls, context: str, text: str) -> Self:
        """Keep the context beside the text."""
        made = super().__new__(cls, text)
        made.context = context
        return made

    context: str


def NC_(context: str, text: str) -> TextInContext:  # noqa: N802  # its name in GLib
    """Return a text as it is, with its context; it is translated when it is shown."""
    return TextInContext(context, text)


def gettext(text: str) -> str:
    """Return a text in the language of the reader, in its context where it has one.

    Nothing stays nothing: gettext would give the header of the catalog for it.
    """
    if isinstance(text, TextInContext):
        return pgettext(text.context, text)
    return str(flask_babel.get_translations().ugettext(text)) if text else ""


def pgettext(context: str, text: str) -> str:
    """Return a text that means this in one context and something else in others, in the language of the reader."""
    return str(flask_babel.get_translations().upgettext(context, text))


def _(text: str, /, **values: object) -> str:
    """Return a text in the language of the reader, its `%(name)s` filled in."""
    return gettext(text) % values if values else gettext(text)


translate = _
"""For texts that are not written where they are shown, so that no tool looks for one there."""


def say(error: TranslatableError) -> str:
    """Return what an error says, in the language of the reader, an error in it as well."""
    return _(error.text, **{name: _write(value) for name, value in error.values.items()})


def _write(value: object) -> object:
    if isinstance(value, TranslatableError):
        return say(value)
    if isinstance(value, int):
        return count(value)
    return decimal(value, 1) if isinstance(value, float) else value


def plural(number: int, one: str, many: str, /, **values: object) -> str:
    """Return the form that goes with a number, `%(count)s` in it being the number as the reader writes it."""
    text = str(flask_babel.get_translations().ungettext(one, many, number))
    return text % {"count": count(number), **values}


def count(value: int) -> str:
    """Write a whole number with the separators of the reader's language."""
    return write_count(value, flask_babel.get_locale())


def decimal(value: float, digits: int) -> str:
    """Write a number with so many decimals and the separators of the reader's language."""
    text, locale = f"{value:,.{digits}f}", flask_babel.get_locale()
    if is_english(locale):
        return text
    return text.translate({ord(","): get_group_symbol(locale), ord("."): get_decimal_symbol(locale)})
