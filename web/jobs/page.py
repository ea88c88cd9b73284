"""The pages of jobs: the list, one job's progress, and actions on it."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.intake import left_out
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Source
from web.base.contexts import PageContext, render
from web.base.services import services
from web.frame.notices import note_seen
from web.guard.access import SUBMITTERS, asked_by_script, may_change, requires
from web.jobs import actions
from web.jobs.filters import KEYS, NAMES, ORDERS, STAGES, JobFilters, JobOrder, JobStage
from web.jobs.overview import Overview, look_over
from web.jobs.progress import FINISHED, Progress, job_progress
from web.jobs.reasons import Reason, count_reasons
from web.jobs.rows import JobEntry, describe_jobs
from web.jobs.standing import standing
from web.languages.text import N_, _, plural, translate
from web.lists.listing import FilterError, Page, job_rows, list_jobs

blueprint = Blueprint("jobs", __name__)
blueprint.add_app_template_filter(standing)

JOBS_A_PAGE = 25
IMAGES_PER_PAGE = 100

SOURCES = {
    Source.WEB: N_("from the web page"),
    Source.API: N_("via the API"),
    Source.CLI: N_("from the command line"),
    Source.SAMPLES: N_("synthetic samples"),
    Source.DICOM: N_("via DICOM"),
    Source.FOLDER: N_("from a watched folder"),
    Source.SCHEDULE: N_("on a schedule"),
}
NONE_CHOSEN = {
    State.QUEUED: N_("No X-ray of this job is waiting now."),
    State.RUNNING: N_("No X-ray of this job is being screened now."),
    State.DONE: N_("No X-ray of this job is done."),
    State.REJECTED: N_("No X-ray of this job was refused."),
    State.FAILED: N_("No X-ray of this job has failed."),
    State.CANCELLED: N_("No X-ray of this job was cancelled."),
}
"""The text of an empty list, by the chosen state."""


@dataclass(frozen=True)
class ListPage(PageContext):
    """One page of matching jobs, and the form that filters and orders them."""

    template = "jobs/list.html"
    entries: Sequence[JobEntry]
    search: JobFilters
    values: Mapping[str, str]
    problem: str | None
    names: Mapping[str, str]
    stages: Mapping[JobStage, str]
    orders: Mapping[JobOrder, str]
    newer: str | None
    older: str | None


@dataclass(frozen=True)
class JobFragment(PageContext):
    """The live part of a job's page: its progress, and one page of its images."""

    template = "jobs/fragment.html"
    job: Job
    progress: Progress
    overview: Overview
    page: Page
    chosen: State | None
    reasons: Sequence[Reason]
    """Of the chosen state, where there are several to choose from."""
    reason: str | None
    """The code of the chosen one."""
    newer: str | None
    older: str | None
    may_change: bool
    source_name: str
    none_chosen: Mapping[State, str]
    settings: Settings
    no_images: Mapping[str, Any]


@dataclass(frozen=True)
class JobPage(JobFragment):
    """The page of one job, with its live part."""

    template = "jobs/job.html"


@dataclass(frozen=True)
class DeletePage(PageContext):
    """The confirmation before a job is deleted."""

    template = "jobs/delete.html"
    job: Job
    progress: Progress


@blueprint.get("/jobs")
@requires()
def index() -> ResponseReturnValue:
    """List jobs, filtered and ordered."""
    try:
        filters, problem = JobFilters.from_args(request.args), None
    except FilterError as error:
        filters, name = JobFilters(), translate(NAMES.get(error.field, error.field))
        problem = _("%(field)s: %(problem)s", field=name, problem=error.message)
    values, order = filters.to_args(), KEYS[filters.order]
    with services().database.read() as db:
        page = list_jobs(db, g.user, request.args.get("cursor"), JOBS_A_PAGE, filters.conditions(), order)
        entries = describe_jobs(db, page.rows)
    context = ListPage(
        entries=entries,
        search=filters,
        values=values,
        problem=problem,
        names=NAMES,
        stages=STAGES,
        orders=ORDERS,
        newer=_turn(page.previous_cursor, **values),
        older=_turn(page.next_cursor, **values),
    )
    return render(context), 422 if problem else 200


@blueprint.get("/jobs/<uuid:job_id>")
@requires()
def show(job_id: uuid.UUID) -> ResponseReturnValue:
    """Show one job."""
    return _show(job_id, JobPage)


@blueprint.get("/jobs/<uuid:job_id>/fragment")
@requires()
@asked_by_script
def fragment(job_id: uuid.UUID) -> ResponseReturnValue:
    """Show the live part of a job's page, which the page polls."""
    return _show(job_id, JobFragment)


def _show(job_id: uuid.UUID, part: type[JobFragment]) -> str:
    with services().database.read() as db:
        shown = _describe(db, actions.seen_job(db, job_id), part)
        page = render(shown)
    if shown.progress.state == FINISHED and shown.job.seen_at is None and shown.job.created_by_id == g.user.id:
        note_seen([job_id])  # seen here, it needs no notification elsewhere
    return page


@blueprint.post("/jobs/<uuid:job_id>/cancel")
@requires(*SUBMITTERS)
def cancel(job_id: uuid.UUID) -> ResponseReturnValue:
    """Cancel a job's unfinished images."""
    with services().database.read() as db:
        was_finished = job_progress(db, actions.own_job(db, job_id)).state == FINISHED
    changed = actions.cancel(job_id)
    if changed:
        said = plural(
            changed,
            "The job is cancelled: %(count)s X-ray will not be screened.",
            "The job is cancelled: %(count)s X-rays will not be screened.",
        )
        flash(said, "info")
    elif was_finished:
        flash(_("The job had already finished."), "info")
    else:
        flash(_("The upload has ended. No X-ray was waiting."), "info")
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.post("/jobs/<uuid:job_id>/retry")
@requires(*SUBMITTERS)
def retry(job_id: uuid.UUID) -> ResponseReturnValue:
    """Retry images that failed, were rejected by a worker or were cancelled."""
    changed = actions.retry(job_id)
    flash(
        plural(changed, "%(count)s X-ray will be screened again.", "%(count)s X-rays will be screened again."), "info"
    )
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.get("/jobs/<uuid:job_id>/delete")
@requires(*SUBMITTERS)
def confirm_delete(job_id: uuid.UUID) -> ResponseReturnValue:
    """Show what deleting a job removes, and ask for confirmation."""
    with services().database.read() as db:
        job = actions.own_job(db, job_id)
        progress = job_progress(db, job)
    if progress.state != FINISHED:
        abort(409, _("Only a job that has finished can be deleted. Cancel it first."))
    return render(DeletePage(job=job, progress=progress))


@blueprint.post("/jobs/<uuid:job_id>/delete")
@requires(*SUBMITTERS)
def delete(job_id: uuid.UUID) -> ResponseReturnValue:
    """Delete a job that has finished."""
    images = actions.delete(job_id)
    said = plural(images, "The job is deleted, with %(count)s X-ray.", "The job is deleted, with %(count)s X-rays.")
    flash(said, "info")
    return redirect(url_for("jobs.index"), 303)


def _describe(db: Session, job: Job, part: type[JobFragment]) -> JobFragment:
    """Return the context of a job's page, or of its live part."""
    chosen = _chosen_state()
    reason = _chosen_reason()
    progress = job_progress(db, job)
    page = job_rows(db, g.user, job.id, chosen, request.args.get("cursor"), IMAGES_PER_PAGE, reason)
    reasons = count_reasons(db, job.id, chosen)
    return part(
        job=job,
        progress=progress,
        overview=look_over(db, job, progress),
        page=page,
        chosen=chosen,
        reasons=reasons if len(reasons) > 1 or reason else (),
        reason=reason,
        newer=_turn(page.previous_cursor, job_id=job.id, state=chosen, reason=reason),
        older=_turn(page.next_cursor, job_id=job.id, state=chosen, reason=reason),
        may_change=may_change(g.user, job),
        source_name=SOURCES[job.source],
        none_chosen=NONE_CHOSEN,
        settings=services().settings,
        no_images=left_out.by_kind(),
    )


def _chosen_state() -> State | None:
    given = request.args.get("state")
    if not given:
        return None
    try:
        return State(given)
    except ValueError:
        abort(404)


def _chosen_reason() -> str | None:
    given = request.args.get("reason") or None
    if given is not None and not re.fullmatch("[a-z_]{1,64}", given):
        abort(404)
    return given


def _turn(cursor: str | None, **values: Any) -> str | None:
    """Return the URL of another page of this list; None where there is none."""
    if cursor is None:
        return None
    endpoint = "jobs.show" if "job_id" in values else "jobs.index"
    return url_for(endpoint, cursor=cursor or None, **values)
