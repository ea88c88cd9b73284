"""The codes of problem details (RFC 9457), for programs to match instead of texts."""

from enum import StrEnum
from typing import Final


class ProblemCode(StrEnum):
    """What went wrong with a request; the value is the member `code` of a problem, and a row of docs/http.md."""

    BAD_REQUEST = "bad_request"
    BAD_HOST = "bad_host"
    SIGNED_OUT = "signed_out"
    FORBIDDEN = "forbidden"
    ROLE = "role"
    SCOPE = "scope"
    CSRF = "csrf"
    NOT_FOUND = "not_found"
    DELETED = "deleted"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    JOB_CLOSED = "job_closed"
    JOB_UNFINISHED = "job_unfinished"
    REVIEW_OUTDATED = "review_outdated"
    NOT_REVIEWABLE = "not_reviewable"
    NOT_ACTIVATED = "not_activated"
    GONE = "gone"
    LENGTH_REQUIRED = "length_required"
    OVER_LIMIT = "over_limit"
    UNSUPPORTED_BODY = "unsupported_body"
    INVALID_ARGUMENT = "invalid_argument"
    KEY_REUSED = "key_reused"
    RATE_LIMITED = "rate_limited"
    QUEUE_FULL = "queue_full"
    HEADER_TOO_LARGE = "header_too_large"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    STORE_AWAY = "store_away"
    DATABASE_AWAY = "database_away"
    DISK_LOW = "disk_low"


STATUSES: Final[dict[ProblemCode, int]] = {
    ProblemCode.BAD_REQUEST: 400,
    ProblemCode.BAD_HOST: 400,
    ProblemCode.SIGNED_OUT: 401,
    ProblemCode.FORBIDDEN: 403,
    ProblemCode.ROLE: 403,
    ProblemCode.SCOPE: 403,
    ProblemCode.CSRF: 403,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.DELETED: 404,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.TOO_SLOW: 408,
    ProblemCode.CONFLICT: 409,
    ProblemCode.JOB_CLOSED: 409,
    ProblemCode.JOB_UNFINISHED: 409,
    ProblemCode.REVIEW_OUTDATED: 409,
    ProblemCode.NOT_REVIEWABLE: 409,
    ProblemCode.NOT_ACTIVATED: 409,
    ProblemCode.GONE: 410,
    ProblemCode.LENGTH_REQUIRED: 411,
    ProblemCode.OVER_LIMIT: 413,
    ProblemCode.UNSUPPORTED_BODY: 415,
    ProblemCode.INVALID_ARGUMENT: 422,
    ProblemCode.KEY_REUSED: 422,
    ProblemCode.RATE_LIMITED: 429,
    ProblemCode.QUEUE_FULL: 429,
    ProblemCode.HEADER_TOO_LARGE: 431,
    ProblemCode.INTERNAL: 500,
    ProblemCode.UNAVAILABLE: 503,
    ProblemCode.STORE_AWAY: 503,
    ProblemCode.DATABASE_AWAY: 503,
    ProblemCode.DISK_LOW: 507,
}


def code_of(status: int) -> ProblemCode:
    """Return the general code of a status: the first one with it, else that of its class (4xx, 5xx)."""
    general = ProblemCode.BAD_REQUEST if status < 500 else ProblemCode.INTERNAL
    return next((code for code, its in STATUSES.items() if its == status), general)
