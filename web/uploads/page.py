"""The page that takes images, and the plain form behind it for browsers without scripts."""

from flask import Blueprint, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from shared.intake import left_out
from shared.submission.model_choice import model_choices
from shared.tables import Source
from web.base.services import services
from web.guard.access import SUBMITTERS, may_submit, requires
from web.guard.security import streams_body
from web.jobs.found import describe_jobs
from web.lists.listing import list_jobs
from web.uploads import samples
from web.uploads.receive import receive_job

blueprint = Blueprint("screen", __name__)

RECENT_JOBS = 5


@blueprint.get("/")
@requires()
def home() -> ResponseReturnValue:
    """Show the drop zone to those who send images; readers begin at the worklist."""
    if not may_submit(g.user):
        return redirect(url_for("worklist.index"), 303)
    with services().database.read() as db:
        recent = list_jobs(db, g.user, None, RECENT_JOBS).rows
        entries = describe_jobs(db, recent)
    return render_template(
        "screen/home.html",
        settings=services().settings,
        models=model_choices(services()),
        no_images=left_out.by_kind(),
        recent=entries,
        samples=0 if recent else len(samples.sample_images(services().settings)),
    )


@blueprint.post("/jobs")
@requires(*SUBMITTERS)
@streams_body
def submit() -> ResponseReturnValue:
    """Take the images of a plain form as one job."""
    receipt = receive_job(Source.WEB)
    return redirect(url_for("jobs.show", job_id=receipt.job.id), 303)
