"""Tell a job's sender that it has ended, once: on the next page that they open."""

import logging
import uuid
from collections.abc import Sequence
from typing import Any, Final

from flask import Blueprint, Response, g, request
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from shared.db import now
from shared.tables import Job
from web.base.prefetch import is_fetched_ahead
from web.base.services import services

log = logging.getLogger(__name__)

blueprint = Blueprint("notices", __name__)

MOST: Final = 5


@blueprint.before_app_request
def _find_ended() -> None:
    """Find ended jobs to report, before the view takes its own connection."""
    g.ended_jobs = []
    if g.get("user") is None or g.by_token or not _opens_page():
        return
    unseen = (Job.ended_at.is_not(None), Job.seen_at.is_(None))
    query = select(Job).where(Job.created_by_id == g.user.id, *unseen).order_by(Job.id.desc()).limit(MOST)
    with services().database.read() as db:
        g.ended_jobs = list(db.scalars(query))


def _opens_page() -> bool:
    """Tell whether a person opens a page: browsers then accept HTML, unlike for pictures or requests by scripts."""
    if is_fetched_ahead():
        return False
    return request.method == "GET" and any(kind == "text/html" for kind, _ in request.accept_mimetypes)


@blueprint.app_context_processor
def _keep_messages() -> dict[str, Any]:
    """Keep a pending flash message for the next page that somebody sees."""
    return {"get_flashed_messages": lambda **_: []} if is_fetched_ahead() else {}


@blueprint.app_template_global()
def tell_ended_jobs() -> Sequence[Job]:
    """Return the jobs that this page reports as ended, and record that it does."""
    # Not the job of this address: its own page records that, and an error in its place shows nothing of it.
    told = [job for job in g.get("ended_jobs", []) if job.id != (request.view_args or {}).get("job_id")]
    g.told_jobs = [job.id for job in told]
    return told


@blueprint.after_app_request
def _note_told(response: Response) -> Response:
    note_seen(g.get("told_jobs", []))
    return response


def note_seen(job_ids: Sequence[uuid.UUID]) -> None:
    """Record that the sender knows of these jobs' end; a database that is full or locked does not prevent reading."""
    if not job_ids:
        return
    try:
        with services().database.write() as db:
            db.execute(update(Job).where(Job.id.in_(job_ids)).values(seen_at=now()))
    except SQLAlchemyError as error:
        log.warning("That the end of a job was shown could not be noted: %s", error)
