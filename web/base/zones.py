"""The time zone of whoever looks at a page: the account's own, else the browser's as its script has said, else UTC."""

from datetime import UTC, tzinfo
from typing import Final

from flask import g, has_request_context, request

from shared.languages.zones import find_zone

COOKIE: Final = "zone"
"""Written by `times.js`."""


def current_zone() -> tzinfo:
    """Return the zone of whoever asks."""
    if not has_request_context():
        return UTC
    user = g.get("user")
    return find_zone(user.time_zone if user else None) or find_zone(request.cookies.get(COOKIE)) or UTC
