"""Protect every request and response: Host header, CSRF, upload rate limit, and security headers."""

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, g, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect, validate_csrf
from werkzeug.exceptions import RequestEntityTooLarge
from wtforms.validators import ValidationError

from shared.queue.broker import Broker
from shared.settings import PREFIX, Settings
from web.base.problems import Refused, answer, on_rate_limit
from web.guard.access import SAFE_METHODS
from web.guard.rate_storage import counted_in
from web.http.pacing import SMALL_BODY
from web.http.problem_codes import ProblemCode
from web.languages.text import _

View = TypeVar("View", bound=Callable[..., Any])

CSRF_HEADER: Final = "X-CSRFToken"
CSRF_FIELD: Final = "csrf_token"

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Pages and answers name people and images; cacheable ones set their own header.
    "Cache-Control": "no-store",
}

# Probes use any address, and their answers contain no names.
_PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_csrf = CSRFProtect()


def streams_body(view: View) -> View:
    """Mark a view that reads its own body: `web.uploads` checks its CSRF token, and the upload limit applies."""
    view.streams_body = True  # type: ignore[attr-defined]  # functions take attributes
    return view


def check_hosts(app: Flask, settings: Settings) -> None:
    """Refuse requests with a foreign Host header before anything else.

    This defeats DNS rebinding, a foreign site's name pointed at this machine.
    """
    if settings.hosts:
        app.before_request(lambda: _check_host(settings.hosts))


def _check_host(hosts: tuple[str, ...]) -> None:
    if request.path in _PROBES:
        return
    given = urlsplit(f"//{request.host}").hostname or ""
    if not any(given.endswith(host) if host.startswith(".") else given == host for host in hosts):
        raise Refused(
            ProblemCode.BAD_HOST,
            f"This server does not answer to the name '{given}'. {PREFIX}ALLOWED_HOSTS lists the names it has.",
        )


def install(app: Flask, settings: Settings) -> None:
    """Protect an application after all its views are registered."""
    _csrf.init_app(app)
    app.before_request(_refuse_encoded)
    app.before_request(_bound_strangers)
    app.before_request(_check_csrf)
    app.after_request(_add_headers)
    app.after_request(lambda response: _insist_on_tls(response, settings))
    _limit_rates(app, settings)


def _refuse_encoded() -> None:
    """Answer 415 to a compressed body (RFC 9110, section 15.5.16): decompressed, it could have any size."""
    given = request.headers.get("Content-Encoding", "").strip()
    if given.lower() not in {"", "identity"}:
        response = answer(
            415, f"Send the body as it is, without a Content-Encoding; a ZIP is fine. Received: '{given[:40]}'."
        )
        response.headers["Accept-Encoding"] = "identity"
        abort(response)


def _bound_strangers() -> None:
    """Accept only small bodies from strangers: they are complete before a thread starts (`web.http.connections`)."""
    if g.user is not None:
        return
    if request.content_length is None and "Transfer-Encoding" in request.headers:
        abort(411, "Say in Content-Length how long the body is.")
    request.max_content_length = SMALL_BODY
    if (request.content_length or 0) > SMALL_BODY:
        raise RequestEntityTooLarge


def check_csrf_token(token: str | None) -> None:
    """Answer 403 where a signed-in browser's request has no valid token."""
    try:
        validate_csrf(token)
    except ValidationError as error:
        said = _(
            "This page is out of date: it was open for long, or somebody has signed in again in this browser. Load it "
            "again and repeat what you did."
        )
        raise Refused(ProblemCode.CSRF, said) from error


def _check_csrf() -> None:
    """Check every unsafe request except those with an API token, which no browser sends by itself."""
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method in SAFE_METHODS or g.by_token or view is None or getattr(view, "streams_body", False):
        return
    if request.path.startswith("/api/"):
        if g.user is not None:
            check_csrf_token(request.headers.get(CSRF_HEADER))
        return
    check_csrf_token(request.form.get(CSRF_FIELD) or request.headers.get(CSRF_HEADER))
    g.csrf_valid = True  # so that Flask-WTF's forms do not check again


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _insist_on_tls(response: Response, settings: Settings) -> Response:
    if settings.secure_cookies or request.is_secure:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def _limit_rates(app: Flask, settings: Settings) -> None:
    """Count by address in Redis, or in memory while Redis is unavailable."""
    broker = Broker.of(settings)
    limiter = Limiter(
        get_remote_address,
        storage_uri=counted_in(broker),
        storage_options={"socket_connect_timeout": 1, "socket_timeout": 1, **broker.limits_options()},
        in_memory_fallback_enabled=True,
        swallow_errors=True,  # if several find Redis unavailable at once, only the first is counted in memory
        key_prefix="pneumoscreen",
    )
    limiter.init_app(app)
    for endpoint, view in app.view_functions.items():
        if getattr(view, "streams_body", False):
            limited: Any = limiter.shared_limit(settings.upload_limit, scope="upload")(view)
            app.view_functions[endpoint] = limited

    def say_when(error: RateLimitExceeded) -> Response:
        limit = limiter.current_limit
        return on_rate_limit(error, limit.reset_at if limit else None)

    app.register_error_handler(RateLimitExceeded, say_when)
