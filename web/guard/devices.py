"""Recognise browsers that an account has signed in with before, by a signed cookie.

Failed attempts from elsewhere do not slow these down, so that guessing at an account locks nobody out (OWASP, "Slow
Down Online Guessing Attacks with Device Cookies").
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from flask import Response, after_this_request, current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from shared.tables import User
from web.http.proxies import cookie_path

COOKIE: Final = "pneumoscreen_device"
_SECONDS: Final = 180 * 24 * 3600
_MOST_PEOPLE: Final = 20
"""The most accounts in a cookie, which keeps the latest: a ward's workstation has many."""


@dataclass(frozen=True)
class Device:
    """A browser and the accounts that have signed in with it."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    people: tuple[str, ...] = ()

    def knows(self, user: User) -> bool:
        """Tell whether an account has signed in with this browser."""
        return user.id.hex in self.people


def present_device() -> Device:
    """Return the requesting browser, a new one where its cookie is missing, forged or expired."""
    try:
        name, people = _serializer().loads(request.cookies.get(COOKIE, ""), max_age=_SECONDS)
    except BadSignature:
        return Device()
    return Device(name, tuple(people))


def remember(user: User) -> None:
    """Set a cookie with this request's answer that remembers that this account signed in."""
    device = present_device()
    people = [person for person in device.people if person != user.id.hex][: _MOST_PEOPLE - 1]
    value = _serializer().dumps([device.id, [user.id.hex, *people]])

    @after_this_request
    def keep(response: Response) -> Response:
        is_secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
        response.set_cookie(
            COOKIE, value, max_age=_SECONDS, path=cookie_path(), secure=is_secure, httponly=True, samesite="Lax"
        )
        return response


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="device")
