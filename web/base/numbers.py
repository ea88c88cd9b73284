"""Format numbers, times and names for pages."""

from datetime import UTC, datetime
from typing import Final

from babel.numbers import format_percent
from flask import Blueprint
from flask_babel import get_locale
from markupsafe import Markup, escape

from shared.languages.formats import is_english, write_moment
from web.base.days import full_day
from web.base.zones import current_zone
from web.languages.text import _, count, decimal

__all__ = ["count", "duration", "moment", "moment_text", "percent", "rate", "sentence", "share", "size"]

_KIB: Final = 1024
_ENDS: Final = (".", "!", "?", "。", "！", "？", "।", "؟")  # noqa: RUF001  # in the languages of the pages
_MINUTE: Final = 60
_HOUR: Final = 3600


def percent(value: float | None) -> str:
    """Write a probability with one decimal; the extremes are inequalities, because no model is certain."""
    if value is None:
        return "\N{EN DASH}"
    if 0 < value < 0.0005:  # what would round to 0.0%
        return f"<{_percent(0.001)}"
    if 0.9995 <= value < 1:  # what would round to 100.0%
        return f">{_percent(0.999)}"
    return _percent(value)


def _percent(value: float) -> str:
    locale = get_locale()
    if is_english(locale):
        return f"{value:.1%}"
    pattern = locale.percent_formats[None].pattern.replace("0", "0.0", 1)
    return format_percent(round(value, 3), format=pattern, locale=locale)


def share(value: float) -> str:
    """Write a fraction from 0 to 1 as the length of an SVG bar."""
    return f"{min(max(value, 0.0), 1.0) * 100:.2f}%"


def size(value: int) -> str:
    """Write a number of bytes in B, KiB, MiB or GiB."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < _KIB:
            return f"{decimal(amount, 0 if unit == 'B' or amount == int(amount) else 1)} {unit}"
        amount /= _KIB
    return f"{decimal(amount, 0 if amount == int(amount) else 1)} GiB"


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units, which is enough for an estimate."""
    if seconds is None:
        return "\N{EN DASH}"
    whole = round(seconds)
    hours, minutes, rest = whole // _HOUR, whole % _HOUR // _MINUTE, whole % _MINUTE
    if hours:
        return (
            _("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes) if minutes else _("%(hours)s h", hours=hours)
        )
    if minutes:
        return (
            _("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest)
            if rest
            else _("%(minutes)s min", minutes=minutes)
        )
    return _("%(seconds)s s", seconds=whole)


def rate(per_second: float | None) -> str:
    """Write a speed in images a second, or a minute where it is slow."""
    if per_second is None:
        return "\N{EN DASH}"
    if per_second >= 1:
        return _("%(number)s X-rays/s", number=decimal(per_second, 1 if per_second < 100 else 0))
    return _("%(number)s X-rays/min", number=decimal(per_second * 60, 1))


def sentence(text: str) -> str:
    """End an English text, such as a model's, with a full stop, unless it ends like a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def full_stop(text: str) -> str:
    """End a translated text with the full stop of the reader's language, unless it ends like a sentence."""
    return text if text.endswith(_ENDS) else _("%(text)s.", text=text)


def moment(value: datetime | None) -> Markup:
    """Write a time as a <time> element in the reader's zone; `times.js` removes the zone's name."""
    if value is None:
        return Markup("\N{EN DASH}")
    at = value.astimezone(UTC)
    machine, exact = f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S} UTC"
    # Markup.format would take as long as all the rest.
    return Markup(f'<time datetime="{machine}" title="{exact}">{escape(moment_text(value))}</time>')  # noqa: S704


def moment_text(value: datetime) -> str:
    """Write a time in the reader's zone as plain text."""
    return write_moment(value, current_zone(), get_locale())


def register(blueprint: Blueprint) -> None:
    """Register these as template filters."""
    for function in (percent, share, count, decimal, size, duration, rate, sentence, full_stop, full_day, moment):
        blueprint.add_app_template_filter(function)
