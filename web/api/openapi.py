"""Generate the OpenAPI 3.1 document of the API from the schemas that its answers are made of."""

import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.audit.record import Action
from shared.models.spec import NAME_PATTERN
from shared.reviews.reviews import NOTE_LENGTH
from shared.states import State
from shared.tables import Finding, ReviewOutcome
from web.api import schemas
from web.base.paging import MOST_ROWS
from web.images.pixels import SIDES
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
_FILES: Final = {
    "type": "array",
    "minItems": 1,
    "items": _FILE,
    "description": "JPEG, PNG, TIFF, BMP, WebP, DICOM, or ZIP of these.",
}
_JOB_NAME: Final = {"description": "Shown in lists. No patient data."}
# Empty text means no value, like an empty form field; in JSON, so does null.
_PRIORITY: Final = {"type": "string", "enum": ["interactive", "bulk", ""]}
_PRIORITY_SAID: Final = {
    "description": "Interactive goes first. Without it, few images are interactive and many are bulk."
}
_SOURCE: Final = {"type": "string", "enum": ["api", "cli", "web", ""]}
_SOURCE_SAID: Final = {"description": "What the client says it is."}
_MODEL: Final = {"type": "string", "description": "Name of the model that is to screen; empty for the server's own."}
_NULL: Final = {"type": "null"}
_JOB_FORM: Final = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "name": {"type": "string", **_JOB_NAME},
        "priority": {**_PRIORITY, **_PRIORITY_SAID},
        "source": {**_SOURCE, **_SOURCE_SAID},
        "model": _MODEL,
        "files": _FILES,
    },
}
_JOB_JSON: Final = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"], **_JOB_NAME},
        "expected_images": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 2**31 - 1,
            "description": "How many images are to come, for progress and to tell that some are missing.",
        },
        "priority": {"anyOf": [_PRIORITY, _NULL], **_PRIORITY_SAID},
        "source": {"anyOf": [_SOURCE, _NULL], **_SOURCE_SAID},
        "model": {"anyOf": [_MODEL, _NULL], "description": _MODEL["description"]},
    },
}
_REVIEW_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "outcome": {
            "enum": [*(str(o) for o in ReviewOutcome if o is not ReviewOutcome.WITHDRAWN), "", None],
            "description": "Left out, it follows from the finding.",
        },
        "finding": {
            "enum": [*(str(finding) for finding in Finding), "", None],
            "description": "What the image shows; with overrule, or alone.",
        },
        "note": {
            "type": ["string", "null"],
            "maxLength": NOTE_LENGTH,
            "description": f"At most {NOTE_LENGTH:,} characters.",
        },
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
_THRESHOLD: Final = {"type": "number", "minimum": schemas.LEAST_THRESHOLD, "maximum": schemas.MOST_THRESHOLD}
_THRESHOLD_QUERY: Final[Query] = {"threshold": ("The one to look at, 0 to 1.", _THRESHOLD)}
_THRESHOLD_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["threshold"],
    "properties": {
        "threshold": {
            "anyOf": [_THRESHOLD, _NULL],
            "description": "To put in force, 0 to 1; null puts the one before it back.",
        },
        "present": {
            "anyOf": [_THRESHOLD, _NULL],
            "description": "The one that was in force when you looked; another one meanwhile is a conflict.",
        },
    },
}
_MODEL_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model"],
    "properties": {"model": {"type": "string", "description": "Name of a model whose files are whole here."}},
}
_SHADOW_JSON: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model"],
    "properties": {
        "model": {
            "type": ["string", "null"],
            "description": "Name of a model whose files are whole here; null ends it.",
        }
    },
}
_SIDE: Final[Query] = {
    "side": ("Longest side of the answer; a larger image is averaged down.", {"type": "integer", "enum": list(SIDES)})
}
_IMAGES_FORM: Final = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "skip_received": {
            "type": "string",
            "enum": ["true", "false", ""],
            "description": "Whether to leave out files that the job holds already, by the same name and content.",
        },
        "files": _FILES,
    },
}


API_ROOT: Final = "/api/v1"
_UUID: Final = {"type": "string", "format": "uuid"}
_PATH_NAMES: Final = {"name": {"type": "string", "pattern": NAME_PATTERN}}
"""Path parameters that are not ids: a model's name."""
_TAGS: Final = {
    "jobs": "Jobs",
    "screenings": "One X-ray",
    "predictions": "All X-rays",
    "models": "Models",
    "audit": "Audit trail",
    "healthz": "Health",
    "readyz": "Health",
    "metrics": "Health",
}
_OTHER_TAG: Final = "This interface"


@dataclass(frozen=True)
class Operation:
    """One method of one path below `root`."""

    method: str
    path: str
    summary: str
    answers: dict[int, type[BaseModel] | None]
    query: Query | None = None
    bodies: dict[str, dict[str, Any]] | None = None
    problems: tuple[int, ...] = (401,)
    repeatable: bool = False
    root: str = API_ROOT
    media_type: str = "application/json"
    """Of the answer."""
    example: Any = None
    """A JSON body."""

    @property
    def takes_named_arguments_only(self) -> bool:
        """Tell whether an argument not in `query` is refused; pages and pictures ignore it."""
        return self.root == API_ROOT and self.media_type != "text/html"


_UPLOAD_PROBLEMS: Final = (400, 401, 403, 413, 422, 429, 507)
_ONE_JOB: Final = (401, 403, 404)

OPERATIONS: Final = (
    Operation(
        "post", "/jobs", "Submit a job of images, or open an empty one",
        {202: schemas.JobReceipt, 201: schemas.JobReceipt},
        bodies={"multipart/form-data": _JOB_FORM, "application/json": _JOB_JSON},
        problems=(*_UPLOAD_PROBLEMS, 415), repeatable=True, example={"name": "Ward 3", "expected_images": 300},
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
        example={"files": [{"file_name": "ward/IM-0001.jpeg", "size_bytes": 81234}]},
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
        example={"finding": "viral", "note": "Both lower lobes."},
    ),
    Operation(
        "post", "/screenings/{screening_id}/reviews/withdraw", "Undo your own review", {201: schemas.ReviewShown},
        problems=(401, 403, 404, 409, 422), repeatable=True,
    ),
    Operation(
        "get", "/screenings/{screening_id}/same-patient", "List other images of the same patient",
        {200: schemas.SamePatient}, problems=(401, 404),
    ),
    Operation(
        "get", "/audit", "List the audit trail, for admins", {200: schemas.AuditList}, {**_TRAIL, **_PAGING},
        problems=(401, 403, 422),
    ),
    Operation(
        "get", "/models", "List models, the default one first", {200: schemas.ModelList}, problems=(401, 403)
    ),
    Operation(
        "get", "/models/{name}/threshold", "Show what a threshold would have flagged", {200: schemas.ThresholdTried},
        _THRESHOLD_QUERY, problems=(401, 403, 404, 409, 422),
    ),
    Operation(
        "put", "/models/{name}/threshold", "Put a threshold in force, for admins", {200: schemas.ModelRow},
        bodies={"application/json": _THRESHOLD_JSON}, problems=(400, 401, 403, 404, 409, 415, 422),
        example={"threshold": 0.25, "present": 0.3},
    ),
    Operation(
        "put", "/models/default", "Have new jobs get another model, for admins", {200: schemas.ModelRow},
        bodies={"application/json": _MODEL_JSON}, problems=(400, 401, 403, 404, 409, 415, 422),
        example={"model": "compact-cnn"},
    ),
    Operation(
        "put", "/models/shadow", "Compare another model with the default one, or none, for admins",
        {200: schemas.ModelList}, bodies={"application/json": _SHADOW_JSON},
        problems=(400, 401, 403, 404, 409, 415, 422), example={"model": "mobilenet-v2"},
    ),
    Operation("get", "/me", "Show the account that asks", {200: schemas.Me}),
    Operation("get", "/openapi.json", "Show the OpenAPI document", {200: None}, problems=()),
    Operation("get", "/docs", "Show this reference as a page", {200: None}, problems=(), media_type="text/html"),
    Operation(
        "get", "/screenings/{screening_id}/thumbnail", "Show an image, at most 96 pixels long", {200: None},
        problems=(401, 404), root="", media_type="image/jpeg",
    ),
    Operation(
        "get", "/screenings/{screening_id}/image", "Show an image, at most 1,600 pixels long", {200: None},
        problems=(401, 404, 503), root="", media_type="image/jpeg",
    ),
    Operation(
        "get", "/screenings/{screening_id}/heat-map", "Show where the model saw evidence", {200: None},
        problems=(401, 404), root="", media_type="image/png",
    ),
    Operation(
        "get", "/screenings/{screening_id}/pixels", "Show an image's samples at full depth", {200: None}, _SIDE,
        problems=(401, 404, 422, 503), root="", media_type="application/octet-stream",
    ),
    Operation(
        "get", "/screenings/{screening_id}/report.pdf", "Give an image to print", {200: None},
        problems=(401, 404, 503), root="", media_type="application/pdf",
    ),
    Operation(
        "get", "/jobs/{job_id}/report.pdf", "Give a job to print, the most suspicious images first", {200: None},
        problems=(401, 404, 503), root="", media_type="application/pdf",
    ),
    Operation("get", "/healthz", "Say that the process answers", {200: None}, problems=(), root=""),
    Operation("get", "/readyz", "Say how each part stands", {200: None, 503: None}, problems=(), root=""),
    Operation(
        "get", "/metrics", "Give numbers to Prometheus", {200: None}, problems=(), root="", media_type="text/plain"
    ),
)  # fmt: skip


@cache
def document(root_path: str = "") -> dict[str, Any]:
    """Return the document of a server mounted at `root_path`."""
    models = {model for operation in OPERATIONS for model in operation.answers.values() if model}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(models | {schemas.Problem}, key=lambda m: m.__name__)],
        ref_template=_REFERENCE,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.root + operation.path, {})[operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PneumoScreen",
            "version": version("pneumoscreen"),
            "description": (
                "Screens chest X-rays for pneumonia. Decision support, not a diagnosis. "
                "A GET takes the arguments that are named for it, each once; any other is refused with 422."
            ),
        },
        "servers": [{"url": root_path or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    answers = {str(status): _answer(operation, status) for status in operation.answers}
    surplus = {HTTPStatus.UNPROCESSABLE_ENTITY.value} if operation.takes_named_arguments_only else set()
    problems = {str(status): _problem(status) for status in sorted({*operation.problems, *surplus})}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [_TAGS.get(operation.path.split("/")[1], _OTHER_TAG)],
        "operationId": f"{operation.method}{re.sub('[^a-z]+', '_', operation.path)}".rstrip("_"),
        "parameters": _parameters(operation),
        "responses": answers | problems,
    }
    if operation.bodies:
        content: dict[str, dict[str, Any]] = {kind: {"schema": schema} for kind, schema in operation.bodies.items()}
        if operation.example is not None:
            content["application/json"]["example"] = operation.example
        described["requestBody"] = {"required": True, "content": content}
    if operation.problems == ():
        described["security"] = []
    return described


def _answer(operation: Operation, status: int) -> dict[str, Any]:
    if status == HTTPStatus.NO_CONTENT:
        return {"description": "Done."}
    model, is_json = operation.answers[status], operation.media_type == "application/json"
    schema: dict[str, Any] = {"type": "object"} if is_json else {}
    if model is not None:
        schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    content: dict[str, Any] = {operation.media_type: {"schema": schema}}
    if "format" in (operation.query or {}):
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": "As asked.", "content": content}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": f"{HTTPStatus(status).phrase}.", "content": {"application/problem+json": {"schema": schema}}}


def _or_empty(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Allow empty text, which does not filter; unrestricted texts already include it."""
    if name in _NEVER_EMPTY or schema == {"type": "string"}:
        return schema
    return {"anyOf": [schema, {"type": "string", "maxLength": 0}]}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    path = [{"name": n, "in": "path", "required": True, "schema": _PATH_NAMES.get(n, _UUID)} for n in names]
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
