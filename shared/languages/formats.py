"""Numbers and times as a language writes them. English does without Babel, which takes 0.1 s to load formats."""

from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale


def is_english(locale: "Locale | None") -> bool:
    """Tell whether Python's number format suits the language; Babel takes 0.1 s to load formats at first use."""
    return locale is None or locale.language == "en"


def write_count(value: int, locale: "Locale | None") -> str:
    """Write a whole number with the separators of a language."""
    if is_english(locale):
        return f"{value:,}"
    from babel.numbers import format_decimal  # noqa: PLC0415  # English needs none of it

    return format_decimal(value, locale=locale)


def write_moment(value: datetime, zone: tzinfo, locale: "Locale | None") -> str:
    """Write a time in a zone, to the minute, with the zone's name."""
    local = value.astimezone(zone)
    if locale is None or is_english(locale):
        return f"{local.day} {local:%b %Y, %H:%M} {local.tzname()}"
    from babel.dates import format_skeleton, get_datetime_format  # noqa: PLC0415  # English needs none of it

    day, time = (format_skeleton(parts, local, tzinfo=zone, locale=locale) for parts in ("yMMMd", "Hm"))
    written = str(get_datetime_format("medium", locale=locale)).format(time, day)
    return f"{written} {local.tzname()}"
