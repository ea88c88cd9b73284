"""The views of reports: one image or one job as a PDF, for people and, with the scope `read`, for programs."""

import uuid
from collections.abc import Sequence
from itertools import islice
from typing import Final

from flask import Blueprint, Response, g, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.exceptions import NotFound

from shared.audit.record import Action, record
from shared.db import now
from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.tables import Model, Prediction, Scope, Screening, in_states
from web.base import numbers
from web.base.concurrency import Turns
from web.base.services import services
from web.guard.access import requires
from web.images import pictures
from web.images.missing import refuse_missing
from web.jobs.actions import seen_job
from web.jobs.page import SOURCES
from web.jobs.progress import job_progress, label_counts
from web.languages.text import N_, _
from web.lists.listing import (
    Filters,
    Order,
    ScreeningDetail,
    ScreeningSummary,
    get_screening,
    iterate_screenings,
    job_rows,
)
from web.reports.contents import ENDED_WITHOUT, MOST_LISTED, MOST_REFUSED, JobContents, Picture

blueprint = Blueprint("reports", __name__)

_MOST_SECONDS: Final = 20.0
writing = Turns(1, _MOST_SECONDS, N_("Reports are being written."))
"""A report takes a core for up to 3 s (500 rows), and memory for fonts."""


@blueprint.get("/screenings/<uuid:screening_id>/report.pdf")
@requires(scope=Scope.READ)
def image(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Return the PDF of one image: picture, result, model and reviews."""
    from web.reports.image import write_image  # noqa: PLC0415  # fpdf2 and its fonts load with the first report

    with services().database.read() as db:
        screening = get_screening(db, g.user, screening_id)
        if screening is None:
            refuse_missing(db, screening_id)
        model = None if screening.model is None else _model_of(db, screening_id)
    picture = _picture(screening)
    with writing.turn():
        report = write_image(screening, picture, model, _printed())
    return _send(report, screening_id)


@blueprint.get("/jobs/<uuid:job_id>/report.pdf")
@requires(scope=Scope.READ)
def job(job_id: uuid.UUID) -> ResponseReturnValue:
    """Return the PDF of a job: findings, the most suspicious images, and those without a result."""
    from web.reports.job import write_job  # noqa: PLC0415  # as above

    with services().database.read() as db:
        found = seen_job(db, job_id)
        progress, labels = job_progress(db, found), label_counts(db, found, g.user)
        reasons, missing = _reasons(db, job_id), _without(db, job_id, MOST_REFUSED)
    order = iterate_screenings(services().database, g.user, Filters(job=job_id), Order.SUSPICIOUS)
    contents = JobContents(found, progress, labels, reasons, list(islice(order, MOST_LISTED)), missing)
    with writing.turn():
        report = write_job(contents, SOURCES[found.source], _printed())
    return _send(report, job_id)


def _picture(screening: ScreeningDetail) -> Picture:
    """Return the picture of an image, or the reason why there is none."""
    is_shown = screening.state is not State.REJECTED or screening.error_code in OF_THE_GATE
    if screening.sha256 is None:
        return Picture(None, _("This file was not kept."))
    if not is_shown:
        return Picture(None, _("This X-ray cannot be shown."))
    try:
        return Picture(pictures.preview(screening.sha256))
    except NotFound as missing:
        return Picture(None, missing.description or _("This X-ray cannot be shown."))


def _model_of(db: Session, screening_id: uuid.UUID) -> Model | None:
    query = select(Model).join(Prediction).join(Screening, Screening.prediction_id == Prediction.id)
    return db.scalar(query.where(Screening.id == screening_id))


def _reasons(db: Session, job_id: uuid.UUID) -> list[tuple[str, int]]:
    """Count the refused images of a job by code, the most frequent first."""
    images = func.count().label("images")
    query = select(Screening.error_code, images).where(Screening.job_id == job_id, in_states([State.REJECTED]))
    rows = db.execute(query.group_by(Screening.error_code).order_by(images.desc(), Screening.error_code))
    return [(str(code), count) for code, count in rows]


def _without(db: Session, job_id: uuid.UUID, most: int) -> Sequence[ScreeningSummary]:
    """Return images of a job that ended without a result: refused, then failed, then cancelled ones."""
    found: list[ScreeningSummary] = []
    for state in ENDED_WITHOUT:
        if len(found) < most:
            found += job_rows(db, g.user, job_id, state, None, most - len(found)).rows
    return found


def _printed() -> str:
    return _("Printed %(moment)s by %(name)s", moment=numbers.moment_text(now()), name=g.user.shown_name)


def _send(report: bytes, subject: uuid.UUID) -> Response:
    """Send a report and audit it; the PDF is not named after a file or job."""
    with services().database.write() as db:
        record(db, Action.REPORT_MADE, user_id=g.user.id, subject=subject, address=request.remote_addr)
    response = Response(report, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'attachment; filename="pneumoscreen-{subject}.pdf"'
    return response
