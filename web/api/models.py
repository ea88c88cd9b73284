"""Models in the API: list them, and put thresholds and models in force."""

from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from shared.errors import ActivationRefused
from shared.tables import Role
from web.api import schemas
from web.api.json_body import read_object
from web.base.problems import InvalidRequest
from web.base.services import services
from web.guard.access import REVIEWERS, requires
from web.models.change import change_default, change_shadow, change_threshold, put_threshold_back
from web.models.known import find_model, known_models
from web.models.thresholds import DECIMALS, MONTH, Tried, counting, try_thresholds

blueprint = Blueprint("models_api", __name__, url_prefix="/api/v1")

_SHOWN = 40


@blueprint.get("/models")
@requires(*REVIEWERS)
def list_models() -> ResponseReturnValue:
    """List the known models."""
    return _json(schemas.ModelList(models=[schemas.ModelRow.of(model) for model in known_models()]))


@blueprint.get("/models/<name>/threshold")
@requires(*REVIEWERS)
def show_threshold(name: str) -> ResponseReturnValue:
    """Show what a threshold, by default the one in force, would have flagged."""
    model = find_model(name)
    if model.spec is None:
        raise ActivationRefused("It has no threshold. %(problem)s", problem=model.problem)
    given = request.args.get("threshold")
    tried = model.spec.threshold if not given else _read_number("threshold", _number(given))
    with counting.turn(), services().database.read() as db:
        found = try_thresholds(db, model.spec, model.used, None, Tried(tried))
    row = found.own if found.tried is None else found.tried
    return _json(
        schemas.ThresholdTried(
            threshold=row.threshold,
            present=model.spec.threshold,
            days=MONTH,
            images=found.images,
            flagged=row.flagged.part,
            flagged_at_present=found.own.flagged.part,
        )
    )


@blueprint.put("/models/<name>/threshold")
@requires(Role.ADMIN)
def put_threshold(name: str) -> ResponseReturnValue:
    """Put a threshold in force, or restore the previous one."""
    body = _read_body("threshold", "present")
    present = body.get("present")
    if body["threshold"] is None:
        put_threshold_back(name)
    else:
        shown = None if present is None else _read_number("present", present)
        change_threshold(name, _read_number("threshold", body["threshold"]), shown)
    return _json(schemas.ModelRow.of(find_model(name)))


@blueprint.put("/models/default")
@requires(Role.ADMIN)
def put_default() -> ResponseReturnValue:
    """Change the default model of new jobs."""
    name = _read_body("model")["model"]
    if not isinstance(name, str):
        raise InvalidRequest("model", f"Give the name of a model. Received: {str(name)[:_SHOWN]!r}.")
    change_default(name)
    return _json(schemas.ModelRow.of(find_model(name)))


@blueprint.put("/models/shadow")
@requires(Role.ADMIN)
def put_shadow() -> ResponseReturnValue:
    """Choose the shadow model, or none."""
    name = _read_body("model")["model"]
    if name is not None and not isinstance(name, str):
        raise InvalidRequest("model", f"Give the name of a model, or null. Received: {str(name)[:_SHOWN]!r}.")
    change_shadow(name)
    return _json(schemas.ModelList(models=[schemas.ModelRow.of(model) for model in known_models()]))


def _read_body(needed: str, *others: str) -> dict[str, Any]:
    body = read_object()
    for name in body:
        if name not in {needed, *others}:
            raise InvalidRequest(name[:_SHOWN], f"Give {' and '.join((needed, *others))} alone.")
    if needed not in body:
        raise InvalidRequest(needed, "It is missing.")
    return body


def _number(given: str) -> object:
    try:
        return float(given)
    except ValueError:
        return given


def _read_number(field: str, given: object) -> float:
    least, most = schemas.LEAST_THRESHOLD, schemas.MOST_THRESHOLD
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        received = str(given)[:_SHOWN]
        raise InvalidRequest(field, f"Give a number from {least:f} to {most:f}. Received: {received!r}.")
    return round(float(given), DECIMALS)


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), content_type="application/json")
