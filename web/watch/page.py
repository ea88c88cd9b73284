"""How the whole stands: a light for each part, for everybody; numbers, workers and versions for administrators."""

import platform
from importlib.metadata import version
from typing import Any, Final

from flask import Blueprint, g, render_template
from flask.typing import ResponseReturnValue

from shared.queue.heartbeats import LOST_AFTER_SECONDS
from shared.tables import Role
from web.base.conditions import GOOD, Condition
from web.base.services import services
from web.guard.access import asked_by_script, requires
from web.watch import queue_state
from web.watch.status import Status, watch

blueprint = Blueprint("status", __name__)

_BAD: Final = {Condition.NO_MODEL, Condition.DISK_LOW, Condition.STORE_AWAY, Condition.DATABASE_AWAY}


@blueprint.get("/status")
@requires()
def index() -> ResponseReturnValue:
    """Show how everything stands."""
    return render_template("status/status.html", conditions=list(Condition), **_page())


@blueprint.get("/status/fragment")
@requires()
@asked_by_script
def fragment() -> ResponseReturnValue:
    """Show the part of the page that changes; the page asks for it again and again."""
    return render_template("status/fragment.html", **_page())


def _page() -> dict[str, Any]:
    status = watch().status()
    return {"status": status, "details": _details(status) if g.user.role is Role.ADMIN else None}


def _details(status: Status) -> dict[str, Any]:
    settings = services().settings
    with services().database.read() as db:
        errors = queue_state.recent_errors(db)
        dialect = db.connection().dialect
    return {
        "max_backlog": settings.max_backlog,
        "min_free_bytes": settings.min_free_bytes,
        "silent_seconds": LOST_AFTER_SECONDS,
        "errors": errors,
        "versions": {
            "PneumoScreen": version("pneumoscreen"),
            "Python": platform.python_version(),
            "Database": f"{dialect.name} {'.'.join(map(str, dialect.server_version_info or ()))}",
            "Redis": watch().broker_version() if status.workers is not None else None,
        },
    }


@blueprint.app_template_filter()
def light(condition: Condition) -> str:
    """Return the colour of a condition: good, unknown, warn or bad."""
    if condition in GOOD:
        return "good"
    if condition is Condition.UNKNOWN:
        return "unknown"
    return "bad" if condition in _BAD else "warn"


@blueprint.app_template_global()
def what_holds_images_up() -> list[Condition]:
    """List what whoever sends images now should know; a model that is missing has a banner of its own."""
    status = watch().status()
    here = {Condition.MODEL_NOT_SERVED} if not _serves_own_model(status) else set()
    hidden = ({Condition.NO_MODEL, Condition.MODEL_NOT_SERVED}) - here
    return [condition for condition in status.problems if condition not in hidden]


def _serves_own_model(status: Status) -> bool:
    return status.queue is None or services().settings.model not in status.queue.unserved
