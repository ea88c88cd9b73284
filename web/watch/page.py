"""The status page: a light for each part, for everybody; numbers, workers and versions for administrators."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from flask import Blueprint, g
from flask.typing import ResponseReturnValue

from shared.queue.heartbeats import LOST_AFTER_SECONDS
from shared.tables import Role
from web.base.conditions import GOOD, Condition
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import asked_by_script, requires
from web.watch import queue_state
from web.watch.status import Status, watch

blueprint = Blueprint("status", __name__)

_BAD: Final = {Condition.NO_MODEL, Condition.DISK_LOW, Condition.STORE_AWAY, Condition.DATABASE_AWAY}


@dataclass(frozen=True)
class Details:
    """Further details for administrators."""

    max_backlog: int
    min_free_bytes: int
    silent_seconds: float
    recent_images: int
    errors: Sequence[tuple[str, int]]
    """Error codes among the last `recent_images` sent, with their numbers of images."""
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class StatusFragment(PageContext):
    """The live part of the page."""

    template = "status/fragment.html"
    status: Status
    details: Details | None


@dataclass(frozen=True)
class StatusPage(StatusFragment):
    """The status of each part, and the meaning of each condition."""

    template = "status/status.html"
    conditions: Sequence[Condition]


@blueprint.get("/status")
@requires()
def index() -> ResponseReturnValue:
    """Show the status page."""
    return render(StatusPage(*_standing(), conditions=list(Condition)))


@blueprint.get("/status/fragment")
@requires()
@asked_by_script
def fragment() -> ResponseReturnValue:
    """Show the live part of the page, which the page polls."""
    return render(StatusFragment(*_standing()))


def _standing() -> tuple[Status, Details | None]:
    status = watch().status()
    return status, _details(status) if g.user.role is Role.ADMIN else None


def _details(status: Status) -> Details:
    settings = services().settings
    with services().database.read() as db:
        errors = queue_state.recent_errors(db)
        dialect = db.connection().dialect
    return Details(
        max_backlog=settings.max_backlog,
        min_free_bytes=settings.min_free_bytes,
        silent_seconds=LOST_AFTER_SECONDS,
        recent_images=queue_state.RECENT_IMAGES,
        errors=errors,
        versions={
            "PneumoScreen": version("pneumoscreen"),
            "Python": platform.python_version(),
            "Database": f"{dialect.name} {'.'.join(map(str, dialect.server_version_info or ()))}",
            "Redis": watch().broker_version() if status.workers is not None else None,
        },
    )


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
    """List conditions to tell senders of images; a missing model has its own banner."""
    status = watch().status()
    here = {Condition.MODEL_NOT_SERVED} if not _serves_own_model(status) else set()
    hidden = ({Condition.NO_MODEL, Condition.MODEL_NOT_SERVED}) - here
    return [condition for condition in status.problems if condition not in hidden]


def _serves_own_model(status: Status) -> bool:
    return status.queue is None or status.model not in status.queue.unserved
