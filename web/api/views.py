"""The JSON API, version 1. Its contract is docs/http.md and /api/v1/openapi.json."""

import logging
import re
import uuid
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, g, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.states import State
from shared.submission.resume import LocalFile, find_received
from shared.submission.submit import Receipt, close_submission
from shared.tables import Job, Role, Source
from web.api import schemas
from web.api.json_body import read_object
from web.api.openapi import API_ROOT, document
from web.api.reference import describe
from web.audit.listing import list_events, read_filters
from web.audit.page import export_events
from web.base.contexts import render
from web.base.paging import MOST_ROWS
from web.base.problems import InvalidRequest
from web.base.services import services
from web.guard.access import SUBMITTERS, open_to_all, requires
from web.guard.security import CSRF_HEADER, check_csrf_token, streams_body
from web.history.export import export_screenings
from web.images import asked_score
from web.jobs.actions import cancel, delete, own_job, retry, seen_job
from web.jobs.progress import RECEIVING, SCREENING, JobState, job_progress, jobs_progress
from web.lists import listing
from web.lists.filters import MOST_SHOWN
from web.lists.listing import FilterError, Filters, Order
from web.lists.rows import ScreeningRow, prediction_row, screening_values
from web.uploads.fields import read_submission
from web.uploads.form import left_out
from web.uploads.receive import open_job, receive_images, receive_job, sender

blueprint = Blueprint("api", __name__, url_prefix=API_ROOT)

log = logging.getLogger(__name__)

E = TypeVar("E", Order, State)

_ROWS: Final = 100


@blueprint.post("/jobs")
@requires(*SUBMITTERS)
@streams_body
def submit_job() -> ResponseReturnValue:
    """Accept a complete job as a form, or open an empty one from JSON."""
    source = Source.API if g.by_token else Source.WEB
    if request.mimetype == "multipart/form-data":
        return _job_receipt(receive_job(source), HTTPStatus.ACCEPTED)
    if request.mimetype != "application/json":
        abort(415, f"Send multipart/form-data or application/json. Received: '{request.mimetype}'.")
    if not g.by_token:
        check_csrf_token(request.headers.get(CSRF_HEADER))
    job = open_job(read_submission(read_object(), source))
    return _job_receipt(Receipt(job), HTTPStatus.CREATED)


@blueprint.post("/jobs/<uuid:job_id>/images")
@requires(*SUBMITTERS)
@streams_body
def add_images(job_id: uuid.UUID) -> ResponseReturnValue:
    """Add images to an open job."""
    with services().database.read() as db:
        own_job(db, job_id)
    receipt = receive_images(job_id)
    body = schemas.ImagesReceipt(
        received=len(receipt.received) + receipt.skipped,
        skipped=receipt.skipped,
        queued=receipt.queued,
        rejected=schemas.rejected(receipt),
        left_out=schemas.left_out(left_out()),
        status_url=url_for("api.show_job", job_id=job_id),
    )
    return _json(body, HTTPStatus.ACCEPTED)


@blueprint.post("/jobs/<uuid:job_id>/received")
@requires(*SUBMITTERS)
def show_received(job_id: uuid.UUID) -> ResponseReturnValue:
    """Tell which of the sender's files a job has, so that an aborted upload resumes without them."""
    offered = _read_offered()
    with services().database.read() as db:
        own_job(db, job_id)
        files = [LocalFile(file.file_name, file.size_bytes) for file in offered.files]
        found = list(find_received(db, services().settings, job_id, files))
    received = [schemas.ReceivedFile(index=file.index, sha256=file.sha256) for file in found]
    return _json(schemas.ReceivedFiles(received=received))


def _read_offered() -> schemas.OfferedFiles:
    try:
        return schemas.OfferedFiles.model_validate(read_object())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise InvalidRequest(".".join(map(str, first["loc"])), f"{first['msg']}.") from error


@blueprint.post("/jobs/<uuid:job_id>/close")
@requires(*SUBMITTERS)
def close_job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Close a job's upload."""
    with services().database.read() as db:
        job = own_job(db, job_id)
    close_submission(services(), sender(), job)
    return show_job(job_id)


@blueprint.get("/jobs")
@requires()
def list_jobs() -> ResponseReturnValue:
    """List jobs, newest first."""
    with services().database.read() as db:
        page = listing.list_jobs(db, g.user, request.args.get("cursor"), _limit())
        progress = jobs_progress(db, page.rows)
    rows = [schemas.JobStatus.of(job, progress[job.id]) for job in page.rows]
    return _json(schemas.JobList(jobs=rows, next=_next_address(page.next_cursor)))


@blueprint.get("/jobs/<uuid:job_id>")
@requires()
def show_job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Show a job's status."""
    with services().database.read() as db:
        return _json(_status(db, job_id))


@blueprint.get("/jobs/<uuid:job_id>/screenings")
@requires()
def list_screenings(job_id: uuid.UUID) -> ResponseReturnValue:
    """List a job's images by position."""
    state = _choose("state", State, None)
    with services().database.read() as db:
        seen_job(db, job_id)
        page = listing.job_rows(db, g.user, job_id, state, request.args.get("cursor"), _limit())
    images = [ScreeningRow(**screening_values(row)) for row in page.rows]
    return _json(schemas.ScreeningList(screenings=images, next=_next_address(page.next_cursor)))


@blueprint.post("/jobs/<uuid:job_id>/cancel")
@requires(*SUBMITTERS)
def cancel_job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Cancel a job's unfinished images."""
    return _changed(job_id, cancel(job_id))


@blueprint.post("/jobs/<uuid:job_id>/retry")
@requires(*SUBMITTERS)
def retry_job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Retry images that failed, were rejected by a worker or were cancelled."""
    return _changed(job_id, retry(job_id))


@blueprint.delete("/jobs/<uuid:job_id>")
@requires(*SUBMITTERS)
def delete_job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Delete a job that has finished."""
    delete(job_id)
    return Response(status=HTTPStatus.NO_CONTENT)


@blueprint.post("/screenings/<uuid:screening_id>/score")
@requires()
def ask_score(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Ask for the score of an image that the gate refused."""
    return _json(schemas.Score.of(asked_score.ask(screening_id)))


@blueprint.get("/screenings/<uuid:screening_id>/score")
@requires()
def show_score(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Show the score of an image that the gate refused, if somebody asked for it."""
    with services().database.read() as db:
        asked_score.seen(db, screening_id)
        found = asked_score.find(db, screening_id)
        if found is None:
            abort(404, "Nobody has asked for the score of this image.")
        return _json(schemas.Score.of(found))


@blueprint.get("/predictions")
@requires()
def list_predictions() -> ResponseReturnValue:
    """List images across jobs, filtered; `format=csv` streams all of them."""
    filters = Filters.from_args(request.args)
    order = _choose("order", Order, Order.NEWEST) or Order.NEWEST
    limit = _limit()
    if _wants_csv():
        return export_screenings(filters, order, "csv")
    with services().database.read() as db:
        page = listing.list_screenings(db, g.user, filters, order, request.args.get("cursor"), limit)
    rows = [prediction_row(row) for row in page.rows]
    return _json(schemas.PredictionList(predictions=rows, next=_next_address(page.next_cursor)))


@blueprint.get("/audit")
@requires(Role.ADMIN)
def list_audit() -> ResponseReturnValue:
    """List the audit trail, newest first; `format=csv` streams all filtered rows, oldest first."""
    filters = read_filters(request.args)
    limit = _limit()
    if _wants_csv():
        return export_events(filters, "csv")
    with services().database.read() as db:
        page = list_events(db, filters, request.args.get("cursor"), limit)
    rows = [schemas.AuditRow.of(event) for event in page.rows]
    return _json(schemas.AuditList(events=rows, next=_next_address(page.next_cursor)))


@blueprint.get("/me")
@requires()
def show_me() -> ResponseReturnValue:
    """Show the requesting account."""
    return _json(schemas.Me.model_validate(g.user, from_attributes=True))


@blueprint.get("/openapi.json")
@open_to_all
def show_openapi() -> ResponseReturnValue:
    """Serve the OpenAPI document; it contains no data, so it needs no sign-in."""
    return document(request.root_path)


@blueprint.get("/docs")
@open_to_all
def show_reference() -> ResponseReturnValue:
    """Show the OpenAPI document as a page."""
    return render(describe(document(request.root_path), request.host_url.rstrip("/")))


def _json(body: BaseModel, status: int = HTTPStatus.OK) -> Response:
    return Response(body.model_dump_json(), status, content_type="application/json")


def _job_receipt(receipt: Receipt, status: int) -> Response:
    job, state = receipt.job, _state_after(receipt.job)
    addresses = schemas.job_addresses(job)
    body = schemas.JobReceipt(
        id=job.id,
        name=job.name,
        state=state,
        **addresses,
        received=len(receipt.received),
        queued=receipt.queued,
        rejected=schemas.rejected(receipt),
        left_out=schemas.left_out(left_out()),
    )
    response = _json(body, status)
    response.headers["Location"] = addresses["status_url"]
    return response


def _state_after(job: Job) -> JobState:
    """Return the state of a job whose images were just accepted, even if the database is unavailable by now."""
    try:
        with services().database.read() as db:
            return job_progress(db, job).state
    except SQLAlchemyError as error:
        log.warning("The database does not answer after a commit: %s", error)
        return RECEIVING if job.closed_at is None else SCREENING


def _status(db: Session, job_id: uuid.UUID) -> schemas.JobStatus:
    job = seen_job(db, job_id)
    return schemas.JobStatus.of(job, job_progress(db, job))


def _changed(job_id: uuid.UUID, changed: int) -> Response:
    with services().database.read() as db:
        return _json(schemas.Changed(changed=changed, job=_status(db, job_id)))


def _wants_csv() -> bool:
    form = request.args.get("format", "json")
    if form not in {"json", "csv"}:
        raise FilterError("format", f"Give json or csv. Received: '{form}'.")
    return form == "csv"


def _limit() -> int:
    value = request.args.get("limit", str(_ROWS))
    if not re.fullmatch("[0-9]{1,4}", value) or not 1 <= int(value) <= MOST_ROWS:
        raise FilterError("limit", f"Give a whole number from 1 to {MOST_ROWS}. Received: '{value[:MOST_SHOWN]}'.")
    return int(value)


def _choose(name: str, kind: type[E], default: E | None) -> E | None:
    value = request.args.get(name)
    if not value:
        return default
    try:
        return kind(value)
    except ValueError as error:
        raise FilterError(name, f"Give one of {', '.join(kind)}. Received: '{value}'.") from error


def _next_address(cursor: str | None) -> str | None:
    """Return this request's own URL with the next cursor."""
    if cursor is None:
        return None
    # Not by url_for: an argument's name could clash with its own parameters (`_external`, `endpoint`).
    query = urlencode({**request.args.to_dict(), "cursor": cursor}, errors="replace")
    return f"{request.root_path}{request.path}?{query}"
