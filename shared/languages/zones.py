"""Time zones by their IANA names, as accounts choose them."""

from functools import cache
from zoneinfo import ZoneInfo, available_timezones


@cache
def zone_names() -> tuple[str, ...]:
    """Return the zones that an account can choose, those named by city."""
    return tuple(sorted(name for name in _every_name() if "/" in name and not name.startswith("Etc/")))


@cache
def _every_name() -> frozenset[str]:
    return frozenset(available_timezones())


def find_zone(name: str | None) -> ZoneInfo | None:
    """Return the zone with this name; None where there is none."""
    return ZoneInfo(name) if name is not None and name in _every_name() else None
