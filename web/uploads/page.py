"""The upload page, with a plain form for browsers without scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g, redirect, url_for
from flask.typing import ResponseReturnValue

from shared.intake import left_out
from shared.settings import Settings
from shared.submission.model_choice import ModelChoice, model_choices
from shared.tables import Source
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import SUBMITTERS, may_submit, requires
from web.guard.security import streams_body
from web.jobs.rows import JobEntry, describe_jobs
from web.lists.listing import list_jobs
from web.uploads import samples
from web.uploads.receive import receive_job

blueprint = Blueprint("screen", __name__)

RECENT_JOBS = 5


@dataclass(frozen=True)
class HomePage(PageContext):
    """The drop zone, the latest jobs and, before the first job, the number of samples."""

    template = "screen/home.html"
    settings: Settings
    models: Sequence[ModelChoice]
    no_images: Mapping[str, Any]
    recent: Sequence[JobEntry]
    samples: int


@blueprint.get("/")
@requires()
def home() -> ResponseReturnValue:
    """Show the drop zone to senders; redirect readers to the worklist."""
    if not may_submit(g.user):
        return redirect(url_for("worklist.index"), 303)
    with services().database.read() as db:
        recent = list_jobs(db, g.user, None, RECENT_JOBS).rows
        entries = describe_jobs(db, recent)
    page = HomePage(
        settings=services().settings,
        models=model_choices(services()),
        no_images=left_out.by_kind(),
        recent=entries,
        samples=0 if recent else len(samples.sample_images(services().settings)),
    )
    return render(page)


@blueprint.post("/jobs")
@requires(*SUBMITTERS)
@streams_body
def submit() -> ResponseReturnValue:
    """Submit the images of a plain form as one job."""
    receipt = receive_job(Source.WEB)
    return redirect(url_for("jobs.show", job_id=receipt.job.id), 303)
