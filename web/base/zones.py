"""The viewer's time zone: the account's own, else the browser's as reported by its script, else UTC."""

from datetime import UTC, tzinfo
from typing import Final

from flask import g, has_request_context, request

from shared.languages.zones import find_zone

COOKIE: Final = "zone"
"""Written by `times.js`."""


def current_zone() -> tzinfo:
    """Return the time zone of this request's viewer."""
    if not has_request_context():
        return UTC
    user = g.get("user")
    return find_zone(user.time_zone if user else None) or find_zone(request.cookies.get(COOKIE)) or UTC
