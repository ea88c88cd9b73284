"""Report errors in one place: problem details (RFC 9457) to programs, a page to people."""

import logging
import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from flask import Flask, Response, g, json, make_response, request, url_for
from flask.globals import request_ctx
from flask_limiter import RateLimitExceeded
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import BadHost, HTTPException, RequestEntityTooLarge

from shared.accounts.refusal import AccountRefused
from shared.errors import (
    ActivationRefused,
    DatabaseBusy,
    DecoderAway,
    DiskLow,
    JobClosed,
    JobUnfinished,
    KeyReused,
    ModelUnavailable,
    NothingToWithdraw,
    NotReviewable,
    PneumoScreenError,
    QueueFull,
    ReviewOutdated,
    StoreAway,
    StoreFull,
    TranslatableError,
    TryLater,
    UploadRefused,
)
from web.base.conditions import Condition
from web.base.contexts import PageContext, render
from web.http.pacing import ClientTooSlow
from web.http.problem_codes import STATUSES, ProblemCode, code_of
from web.languages.text import _, count, say

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

_CODES: Final[dict[type[PneumoScreenError], ProblemCode]] = {
    UploadRefused: ProblemCode.OVER_LIMIT,
    QueueFull: ProblemCode.QUEUE_FULL,
    DiskLow: ProblemCode.DISK_LOW,
    StoreFull: ProblemCode.DISK_LOW,
    StoreAway: ProblemCode.STORE_AWAY,
    DatabaseBusy: ProblemCode.DATABASE_AWAY,
    DecoderAway: ProblemCode.UNAVAILABLE,
    JobClosed: ProblemCode.JOB_CLOSED,
    JobUnfinished: ProblemCode.JOB_UNFINISHED,
    ModelUnavailable: ProblemCode.UNAVAILABLE,
    ReviewOutdated: ProblemCode.REVIEW_OUTDATED,
    NotReviewable: ProblemCode.NOT_REVIEWABLE,
    NothingToWithdraw: ProblemCode.NOT_REVIEWABLE,
    ActivationRefused: ProblemCode.NOT_ACTIVATED,
    AccountRefused: ProblemCode.INVALID_ARGUMENT,
}
_CONDITIONS: Final[dict[ProblemCode, Condition]] = {
    ProblemCode.QUEUE_FULL: Condition.QUEUE_FULL,
    ProblemCode.DISK_LOW: Condition.DISK_LOW,
    ProblemCode.STORE_AWAY: Condition.STORE_AWAY,
    ProblemCode.DATABASE_AWAY: Condition.DATABASE_AWAY,
}
"""The condition that is the reason; the sender may retry."""
_MACHINE_PATHS: Final = ("/api/", "/healthz", "/readyz", "/metrics")
_DISK_FULL: Final = "53100"  # postgresql.org/docs/current/errcodes-appendix.html
_READ_ONLY: Final = "25006"
"""The error of a primary demoted to a standby."""
_RETRY_SECONDS: Final = 5
_BAD_HOST: Final = "The Host header of the request is no name of a machine."


class InvalidRequest(PneumoScreenError):
    """Say which field of a request is invalid and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Refused(HTTPException):
    """Answer with a problem whose code is more specific than its status."""

    def __init__(self, problem: ProblemCode, detail: str) -> None:
        super().__init__(detail)
        self.code = STATUSES[problem]
        self.problem = problem


def install(app: Flask) -> None:
    """Handle every error in the form that suits the caller."""
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(RequestEntityTooLarge, _on_large_form)
    app.register_error_handler(PneumoScreenError, _on_own_error)
    app.register_error_handler(DBAPIError, _on_database_error)
    app.register_error_handler(PoolTimeout, _on_busy_pool)
    app.register_error_handler(ClientTooSlow, _on_slow_client)
    _compile_pages(app)


def _compile_pages(app: Flask) -> None:
    """Precompile the error page's templates: the first errors occur under high load."""
    for name in (ErrorPage.template, "base.html", "shapes.html"):
        app.jinja_env.get_template(name)


def prefers_problem() -> bool:
    """Tell whether the caller is a program: by path or token, by a guard's finding, then by the Accept header."""
    has_token = request.authorization is not None and request.authorization.type == "bearer"
    if request.path.startswith(_MACHINE_PATHS) or has_token or g.get("is_program"):
        return True
    wanted = request.accept_mimetypes.best_match(["text/html", MEDIA_TYPE, "application/json"], "text/html")
    return wanted != "text/html"


@dataclass(frozen=True)
class ErrorPage(PageContext):
    """The error page for people."""

    template = "error.html"
    status: int
    title: str
    detail: str
    condition: Condition | None
    code: ProblemCode


def answer(status: int, detail: str, code: ProblemCode | None = None, **extra: object) -> Response:
    """Make the error response; without a code it has that of the status.

    A code that is a condition of the system also determines the problem's type.
    """
    title, code = HTTPStatus(status).phrase, code or code_of(status)
    condition = _CONDITIONS.get(code)
    if prefers_problem():
        kind = {"type": _type(condition), "title": condition.value.capitalize()} if condition else {}
        said = {"title": title, "status": status, "detail": detail, "code": code}
        body = {"type": "about:blank", **said, **kind, **extra}
        return Response(json.dumps(body), status, content_type=MEDIA_TYPE)
    if request_ctx.url_adapter is None:  # the Host header is invalid, so no URL can be built
        return Response(f"{detail}\n", status, mimetype="text/plain")
    page = render(ErrorPage(status=status, title=title, detail=detail, condition=condition, code=code))
    return make_response(page, status)


def _type(condition: Condition) -> str:
    """Return the URL of a condition's explanation on the status page; it may be relative (RFC 9457, 3.1.1)."""
    return url_for("status.index", _anchor=condition.anchor)


def _on_http_error(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if error.response is not None or status < HTTPStatus.BAD_REQUEST:
        return make_response(error.get_response(request.environ))
    detail = _BAD_HOST if isinstance(error, BadHost) else error.description
    code = error.problem if isinstance(error, Refused) else None
    if isinstance(error, BadHost):
        code = ProblemCode.BAD_HOST
    response = answer(status, detail or HTTPStatus(status).phrase, code)
    for name, value in error.get_headers(request.environ):
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _on_large_form(_error: RequestEntityTooLarge) -> Response:
    limit = count(request.max_content_length or 0)
    detail = _("A form that carries no X-rays has at most %(limit)s bytes.", limit=limit)
    return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _on_slow_client(_error: ClientTooSlow) -> Response:
    return answer(HTTPStatus.REQUEST_TIMEOUT, _("The body of the request came too slowly. Send it again."))


def on_rate_limit(error: RateLimitExceeded, reset_at: float | None) -> Response:
    """Say when to retry."""
    seconds = max(1, math.ceil(reset_at - time.time())) if reset_at else _RETRY_SECONDS
    response = answer(
        HTTPStatus.TOO_MANY_REQUESTS,
        _(
            "Too many requests from this address: %(limit)s are allowed. Try again in %(seconds)s s.",
            limit=error.description,
            seconds=seconds,
        ),
    )
    response.headers["Retry-After"] = str(seconds)
    return response


def _on_own_error(error: PneumoScreenError) -> Response:
    if isinstance(error, InvalidRequest):
        return _invalid(error.field, error.message)
    if isinstance(error, KeyReused):
        # The status required by draft-ietf-httpapi-idempotency-key-header-06.
        return _invalid("Idempotency-Key", say(error), ProblemCode.KEY_REUSED)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        raise error
    detail = say(error) if isinstance(error, TranslatableError) else str(error)
    if code not in _CONDITIONS:
        return answer(STATUSES[code], detail, code)
    if isinstance(error, TryLater):
        return _try_later(code, detail, error.retry_after)
    log.error("%s", error)
    return _try_later(code, detail, _RETRY_SECONDS)


def _invalid(field: str, message: str, code: ProblemCode = ProblemCode.INVALID_ARGUMENT) -> Response:
    problem = [{"field": field, "message": message}]
    return answer(STATUSES[code], f"{field}: {message}", code, errors=problem)


def _try_later(code: ProblemCode, detail: str, seconds: int) -> Response:
    response = answer(STATUSES[code], detail, code, retry_after=seconds)
    response.headers["Retry-After"] = str(seconds)
    return response


def _on_busy_pool(error: PoolTimeout) -> Response:
    log.error("Every connection to the database is in use: %s", error)
    detail = _("The database is too busy at the moment. Try again in a moment.")
    return _try_later(ProblemCode.DATABASE_AWAY, detail, _RETRY_SECONDS)


def _on_database_error(error: DBAPIError) -> Response:
    """Say that the database is unavailable; raise errors again that waiting cannot fix."""
    if "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", None) == _DISK_FULL:
        log.error("The database has no room left.")
        detail = _("The database has no room left. Free disk space and send it again.")
        return _try_later(ProblemCode.DISK_LOW, detail, _RETRY_SECONDS)
    is_read_only = getattr(error.orig, "sqlstate", None) == _READ_ONLY
    if not (is_read_only or error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))):
        raise error
    log.error("The database does not answer: %s", error)
    detail = _("The database does not answer. Try again in a moment.")
    return _try_later(ProblemCode.DATABASE_AWAY, detail, _RETRY_SECONDS)
