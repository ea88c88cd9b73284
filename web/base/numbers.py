"""Numbers, times and names as every page shows them."""

from datetime import UTC, datetime

from flask import Blueprint
from markupsafe import Markup

from web.base.zones import current_zone

_STEPS = ((3600.0, "h"), (60.0, "min"))
_KIB = 1024


def percent(value: float | None) -> str:
    """Write a probability with one decimal; the ends stay inequalities, because no model is certain."""
    if value is None:
        return "\N{EN DASH}"
    if 0 < value < 0.0005:  # what would round to 0.0%
        return "<0.1%"
    if 0.9995 <= value < 1:  # what would round to 100.0%
        return ">99.9%"
    return f"{value:.1%}"


def share(value: float) -> str:
    """Write a fraction from 0 to 1 as the length of an SVG bar."""
    return f"{min(max(value, 0.0), 1.0) * 100:.2f}%"


def count(value: int) -> str:
    """Write a whole number with a comma at the thousands."""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun: `1 image`, `5,000 images`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def size(value: int) -> str:
    """Write a number of bytes in B, KiB, MiB or GiB."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < _KIB:
            return f"{amount:.0f} {unit}" if unit == "B" or amount == int(amount) else f"{amount:.1f} {unit}"
        amount /= _KIB
    return f"{amount:.0f} GiB" if amount == int(amount) else f"{amount:.1f} GiB"


def duration(seconds: float | None) -> str:
    """Write a stretch of time in its two largest units, as an estimate deserves."""
    if seconds is None:
        return "\N{EN DASH}"
    whole = round(seconds)
    for length, unit in _STEPS:
        if whole >= length:
            first, rest = divmod(whole, int(length))
            second, name = (rest // 60, "min") if unit == "h" else (rest, "s")
            return f"{first} {unit} {second} {name}" if second else f"{first} {unit}"
    return f"{whole} s"


def rate(per_second: float | None) -> str:
    """Write a speed in images a second, or a minute where it is slow."""
    if per_second is None:
        return "\N{EN DASH}"
    if per_second >= 1:
        return f"{per_second:,.1f} X-rays/s" if per_second < 100 else f"{per_second:,.0f} X-rays/s"
    return f"{per_second * 60:,.1f} X-rays/min"


def sentence(text: str) -> str:
    """End a text with a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def moment(value: datetime | None) -> Markup:
    """Write a time as a <time> element in the reader's zone; `times.js` leaves the zone's name away."""
    if value is None:
        return Markup("\N{EN DASH}")
    at = value.astimezone(UTC)
    machine, exact = f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(machine, exact, moment_text(value))


def moment_text(value: datetime) -> str:
    """Write a time in the reader's zone, for what is no page."""
    local = value.astimezone(current_zone())
    return f"{local.day} {local:%b %Y, %H:%M} {local.tzname()}"


def register(blueprint: Blueprint) -> None:
    """Make these the filters of every template."""
    for function in (percent, share, count, plural, size, duration, rate, sentence, moment):
        blueprint.add_app_template_filter(function)
