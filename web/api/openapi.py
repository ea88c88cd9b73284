"""The OpenAPI 3.1 document, made from the models that the answers are made of."""

import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.audit.record import Action
from shared.reviews.reviews import NOTE_LENGTH
from shared.states import State
from shared.tables import Finding, ReviewOutcome
from web.api import schemas
from web.base.paging import MOST_ROWS
from web.lists.filters import FILTERS
from web.lists.listing import Order

Query = dict[str, tuple[str, dict[str, Any]]]

_REFERENCE: Final = "#/components/schemas/{model}"

_STATES, _ORDERS = ([str(member) for member in kind] for kind in (State, Order))
_PAGING: Final[Query] = {
    "cursor": ("From `next` of the answer before.", {"type": "string"}),
    "limit": ("Rows of one answer.", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 100}),
}
_STATE: Final[Query] = {"state": ("State of the screening.", {"type": "string", "enum": _STATES})}
_DAY: Final = {"type": "string", "format": "date"}
_FILTERS: Final[Query] = {
    **{name: (declared.help, declared.kind.schema) for name, declared in FILTERS.items()},
    "order": (
        "`suspicious` holds only images with a prediction; `unread` is the worklist: one row an image, unread first.",
        {"type": "string", "enum": _ORDERS},
    ),
    "format": ("`csv` streams all that is filtered.", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
}
_NEVER_EMPTY: Final = {"format", "limit"}
_TRAIL: Final[Query] = {
    "person": ("Name of an account, or os:NAME for the command line.", {"type": "string"}),
    "action": ("What was done.", {"type": "string", "enum": [str(action) for action in Action]}),
    "subject": ("Id of what was acted on.", {"type": "string"}),
    "since": ("First day, in UTC.", _DAY),
    "until": ("Last day, in UTC, counted whole.", _DAY),
    "format": (
        "`csv` streams all that is filtered, oldest first.",
        {"type": "string", "enum": ["json", "csv"], "default": "json"},
    ),
}
_FILE: Final = {"type": "string", "contentMediaType": "application/octet-stream"}
_FILES: Final = {"type": "array", "minItems": 1, "items": _FILE}
# An empty text is none, as in a form whose field was left alone; in JSON null is none too.
_PRIORITY: Final = {"type": "string", "enum": ["interactive", "bulk", ""]}
_SOURCE: Final = {"type": "string", "enum": ["api", "cli", "web", ""]}
_MODEL: Final = {"type": "string", "description": "Name of the model that is to screen; empty for the server's own."}
_NULL: Final = {"type": "null"}
_JOB_FORM: Final = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "name": {"type": "string"},
        "priority": _PRIORITY,
        "source": _SOURCE,
        "model": _MODEL,
        "files": _FILES,
    },
}
_JOB_JSON: Final = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"]},
        "expected_images": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1},
        "priority": {"anyOf": [_PRIORITY, _NULL]},
        "source": {"anyOf": [_SOURCE, _NULL]},
        "model": {"anyOf": [_MODEL, _NULL]},
    },
}
_REVIEW_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "outcome": {"enum": [*(str(o) for o in ReviewOutcome if o is not ReviewOutcome.WITHDRAWN), "", None]},
        "finding": {"enum": [*(str(finding) for finding in Finding), "", None]},
        "note": {"type": ["string", "null"], "maxLength": NOTE_LENGTH},
        "seen": {
            "anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "maxLength": 0}, {"type": "null"}],
            "description": "The newest review that the reader was shown; another's that came after it is a conflict.",
        },
    },
}
_OFFERED_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "maxItems": schemas.MOST_OFFERED,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file_name", "size_bytes"],
                "properties": {"file_name": {"type": "string"}, "size_bytes": {"type": "integer", "minimum": 0}},
            },
        }
    },
}
_IMAGES_FORM: Final = {"type": "object", "required": ["files"], "properties": {"files": _FILES}}


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    answers: dict[int, type[BaseModel] | None]
    query: Query | None = None
    bodies: dict[str, dict[str, Any]] | None = None
    problems: tuple[int, ...] = (401,)
    repeatable: bool = False


_UPLOAD_PROBLEMS: Final = (400, 401, 403, 413, 422, 429, 507)
_ONE_JOB: Final = (401, 403, 404)

OPERATIONS: Final = (
    Operation(
        "post", "/jobs", "Submit a job of images, or open an empty one",
        {202: schemas.JobReceipt, 201: schemas.JobReceipt},
        bodies={"multipart/form-data": _JOB_FORM, "application/json": _JOB_JSON},
        problems=(*_UPLOAD_PROBLEMS, 415), repeatable=True,
    ),
    Operation("get", "/jobs", "List jobs, newest first", {200: schemas.JobList}, _PAGING, problems=(401, 422)),
    Operation("get", "/jobs/{job_id}", "Show a job", {200: schemas.JobStatus}, problems=(401, 404)),
    Operation(
        "post", "/jobs/{job_id}/images", "Add images to an open job", {202: schemas.ImagesReceipt},
        bodies={"multipart/form-data": _IMAGES_FORM}, problems=(*_UPLOAD_PROBLEMS, 404, 409), repeatable=True,
    ),
    Operation(
        "post", "/jobs/{job_id}/received", "Say which of these files a job has", {200: schemas.ReceivedFiles},
        bodies={"application/json": _OFFERED_JSON}, problems=(400, 401, 403, 404, 413, 415, 422),
    ),
    Operation("post", "/jobs/{job_id}/close", "End a job's upload", {200: schemas.JobStatus}, problems=_ONE_JOB),
    Operation(
        "get", "/jobs/{job_id}/screenings", "List a job's images", {200: schemas.ScreeningList}, {**_STATE, **_PAGING},
        problems=(401, 404, 422),
    ),
    Operation("post", "/jobs/{job_id}/cancel", "Cancel what has not ended", {200: schemas.Changed}, problems=_ONE_JOB),
    Operation("post", "/jobs/{job_id}/retry", "Queue again what can be", {200: schemas.Changed}, problems=_ONE_JOB),
    Operation("delete", "/jobs/{job_id}", "Delete a job that has finished", {204: None}, problems=(*_ONE_JOB, 409)),
    Operation(
        "post", "/screenings/{screening_id}/score", "Ask for the score of an image that the gate stopped",
        {200: schemas.Score}, problems=(401, 404, 409),
    ),
    Operation(
        "get", "/screenings/{screening_id}/score", "Show the score that was asked for", {200: schemas.Score},
        problems=(401, 404),
    ),
    Operation(
        "get", "/predictions", "List images across jobs", {200: schemas.PredictionList},
        {**_FILTERS, **_PAGING}, problems=(401, 422),
    ),
    Operation(
        "get", "/screenings/{screening_id}/reviews", "List what readers said of an image", {200: schemas.ReviewList},
        problems=(401, 404),
    ),
    Operation(
        "post", "/screenings/{screening_id}/reviews", "Say what an image shows", {201: schemas.ReviewShown},
        bodies={"application/json": _REVIEW_JSON}, problems=(400, 401, 403, 404, 409, 415, 422), repeatable=True,
    ),
    Operation(
        "post", "/screenings/{screening_id}/reviews/withdraw", "Undo your own review", {201: schemas.ReviewShown},
        problems=(401, 403, 404, 409),
    ),
    Operation(
        "get", "/audit", "List the audit trail, for admins", {200: schemas.AuditList}, {**_TRAIL, **_PAGING},
        problems=(401, 403, 422),
    ),
    Operation("get", "/me", "Show the account that asks", {200: schemas.Me}),
    Operation("get", "/openapi.json", "Show this document", {200: None}, problems=()),
)  # fmt: skip


@cache
def document() -> dict[str, Any]:
    """Return the document, all but the address that it is served below."""
    models = {model for operation in OPERATIONS for model in operation.answers.values() if model}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(models | {schemas.Problem}, key=lambda m: m.__name__)],
        ref_template=_REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PneumoScreen",
            "version": version("pneumoscreen"),
            "description": "Screens chest X-rays for pneumonia. Decision support, not a diagnosis.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    has_csv = "format" in (operation.query or {})
    answers = {str(status): _answer(status, model, has_csv=has_csv) for status, model in operation.answers.items()}
    problems = {str(status): _problem() for status in sorted(operation.problems)}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{re.sub('[^a-z]+', '_', operation.path)}".rstrip("_"),
        "parameters": _parameters(operation),
        "responses": answers | problems,
    }
    if operation.bodies:
        content = {media_type: {"schema": schema} for media_type, schema in operation.bodies.items()}
        described["requestBody"] = {"required": True, "content": content}
    if operation.problems == ():
        described["security"] = []
    return described


def _answer(status: int, model: type[BaseModel] | None, *, has_csv: bool) -> dict[str, Any]:
    if status == HTTPStatus.NO_CONTENT:
        return {"description": "Done."}
    schema = {"$ref": _REFERENCE.format(model=model.__name__)} if model else {"type": "object"}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if has_csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": "As asked.", "content": content}


def _problem() -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": "What went wrong.", "content": {"application/problem+json": {"schema": schema}}}


def _or_empty(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Add the empty text, which narrows nothing; texts without a form hold it already."""
    if name in _NEVER_EMPTY or schema == {"type": "string"}:
        return schema
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}]}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    path = [{"name": n, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}} for n in names]
    query = [
        {"name": name, "in": "query", "description": text, "schema": _or_empty(name, schema)}
        for name, (text, schema) in (operation.query or {}).items()
    ]
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same request again under its key adds nothing; another under it is refused with 422.",
        "schema": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
    }
    return [*path, *query, *([key] if operation.repeatable else [])]
