"""The time zone of whoever looks at a page: the account's own, else the browser's as its script has said, else UTC."""

from datetime import UTC, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from flask import g, has_request_context, request

COOKIE: Final = "zone"
"""Written by `times.js`."""


@cache
def zone_names() -> tuple[str, ...]:
    """Return the zones that an account can choose, by the cities that people know them by."""
    return tuple(sorted(name for name in _every_name() if "/" in name and not name.startswith("Etc/")))


@cache
def _every_name() -> frozenset[str]:
    return frozenset(available_timezones())


def find_zone(name: str | None) -> ZoneInfo | None:
    """Return the zone of a name; None where there is none."""
    return ZoneInfo(name) if name is not None and name in _every_name() else None


def current_zone() -> tzinfo:
    """Return the zone of whoever asks."""
    if not has_request_context():
        return UTC
    user = g.get("user")
    return find_zone(user.time_zone if user else None) or find_zone(request.cookies.get(COOKIE)) or UTC
