"""Days as the quality page writes them."""

from datetime import date

from babel.dates import format_skeleton
from flask_babel import get_locale


def short_day(value: date) -> str:
    """Write a day without its year, for an axis: `3 Mar`."""
    locale = get_locale()
    if locale is None or locale.language == "en":
        return f"{value.day} {value:%b}"
    return str(format_skeleton("MMMd", value, locale=locale))


def full_day(value: date) -> str:
    """Write a day with its year: `3 Mar 2026`."""
    locale = get_locale()
    if locale is None or locale.language == "en":
        return f"{value.day} {value:%b %Y}"
    return str(format_skeleton("yMMMd", value, locale=locale))
