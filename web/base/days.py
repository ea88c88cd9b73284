"""Format days for pages, each in a <bdi> element, which keeps its order in text of another direction."""

from datetime import date

from babel.dates import format_skeleton
from flask_babel import get_locale
from markupsafe import Markup

from shared.languages.formats import is_english


def short_day(value: date) -> Markup:
    """Write a day without its year, for an axis: `3 Mar`."""
    return _write(value, f"{value.day} {value:%b}", "MMMd")


def full_day(value: date) -> Markup:
    """Write a day with its year: `3 Mar 2026`."""
    return _write(value, f"{value.day} {value:%b %Y}", "yMMMd")


def _write(value: date, english: str, skeleton: str) -> Markup:
    locale = get_locale()
    written = english if is_english(locale) else format_skeleton(skeleton, value, locale=locale)
    return Markup("<bdi>{}</bdi>").format(written)
