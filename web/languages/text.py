"""Functions that mark the texts of the pages for translation, so that `make translations` finds them.

`_("Sign out")`, `_("The job %(name)s has ended.", name=job.name)`: the text in the reader's language.
`plural(3, "%(count)s X-ray", "%(count)s X-rays")`: the plural form for the number, which is formatted as well.
`N_("Waiting")`: the text unchanged, for tables made at import; it is translated with `_` when shown.
`pgettext("a message", "Sent")`, `NC_("a message", "Sent")`: `_` and `N_` for a text with different meanings, for which
other languages need another word or gender; the context, which comes first, distinguishes them.
"""

from typing import Self

import flask_babel
from babel.numbers import get_decimal_symbol, get_group_symbol
from flask_babel import lazy_gettext

from shared.errors import TranslatableError
from shared.languages.formats import is_english, write_count

__all__ = ["NC_", "N_", "_", "count", "decimal", "gettext", "lazy", "pgettext", "plural", "say", "translate"]

lazy = lazy_gettext
"""For labels and messages of forms, which are made at import and shown by a library."""


def N_(text: str) -> str:  # noqa: N802  # its name wherever gettext is used
    """Return a text unchanged, marked for translation when it is shown."""
    return text


class TextInContext(str):
    """A text with the context that distinguishes it from others spelt alike; untranslated, it is the text."""

    __slots__ = ("context",)

    def __new__(cls, context: str, text: str) -> Self:
        """Store the context with the text."""
        made = super().__new__(cls, text)
        made.context = context
        return made

    context: str


def NC_(context: str, text: str) -> TextInContext:  # noqa: N802  # its name in GLib
    """Return a text unchanged with its context, marked for translation when it is shown."""
    return TextInContext(context, text)


def gettext(text: str) -> str:
    """Return a text in the reader's language, in its context where it has one.

    An empty text stays empty: gettext would return the header of the catalog for it.
    """
    if isinstance(text, TextInContext):
        return pgettext(text.context, text)
    return str(flask_babel.get_translations().ugettext(text)) if text else ""


def pgettext(context: str, text: str) -> str:
    """Return a text in the reader's language, in the meaning that its context gives it."""
    return str(flask_babel.get_translations().upgettext(context, text))


def _(text: str, /, **values: object) -> str:
    """Return a text in the reader's language, with `%(name)s` filled in."""
    return gettext(text) % values if values else gettext(text)


translate = _
"""For texts defined elsewhere, so that no tool tries to extract one from the call."""


def say(error: TranslatableError) -> str:
    """Return the text of an error in the reader's language, including any error in its values."""
    return _(error.text, **{name: _write(value) for name, value in error.values.items()})


def _write(value: object) -> object:
    if isinstance(value, TranslatableError):
        return say(value)
    if isinstance(value, int):
        return count(value)
    return decimal(value, 1) if isinstance(value, float) else value


def plural(number: int, one: str, many: str, /, **values: object) -> str:
    """Return the plural form for a number, with `%(count)s` as the number in the reader's format."""
    text = str(flask_babel.get_translations().ungettext(one, many, number))
    return text % {"count": count(number), **values}


def count(value: int) -> str:
    """Format a whole number with the separators of the reader's language."""
    return write_count(value, flask_babel.get_locale())


def decimal(value: float, digits: int) -> str:
    """Format a number with this many decimals and the separators of the reader's language."""
    text, locale = f"{value:,.{digits}f}", flask_babel.get_locale()
    if is_english(locale):
        return text
    return text.translate({ord(","): get_group_symbol(locale), ord("."): get_decimal_symbol(locale)})
