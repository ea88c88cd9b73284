"""The page that takes films, and the plain form behind it for browsers without scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g, redirect, url_for
from flask.typing import ResponseReturnValue

from shared.intake import left_out
from shared.settings import Settings
from shared.submission.model_choice import ModelChoice, model_choices
from shared.tables import Job, Source
from web.base.contexts import PageContext, render
from web.base.services import parts
from web.guard.access import SUBMITTERS, may_submit, requires
from web.guard.security import streams_body
from web.jobs.progress import Progress, jobs_progress
from web.lists.listing import list_jobs
from web.uploads import samples
from web.uploads.receive import receive_job

blueprint = Blueprint("screen", __name__)

RECENT_JOBS = 5


@dataclass(frozen=True)
class HomePage(PageContext):
    """The drop zone, the last jobs and, before the first, how many samples there are."""

    template = "screen/home.html"
    settings: Settings
    models: Sequence[ModelChoice]
    no_films: Mapping[str, Any]
    recent: Sequence[tuple[Job, Progress]]
    samples: int


@blueprint.get("/")
@requires()
def home() -> ResponseReturnValue:
    """Show the drop zone to those who send films; readers begin at the history."""
    if not may_submit(g.user):
        return redirect(url_for("history.index"), 303)
    with parts().database.read() as db:
        recent = list_jobs(db, g.user, None, RECENT_JOBS).rows
        progress = jobs_progress(db, recent, with_speed=False)
    page = HomePage(
        settings=parts().settings,
        models=model_choices(parts()),
        no_films=left_out.by_kind(),
        recent=[(job, progress[job.id]) for job in recent],
        samples=0 if recent else len(samples.sample_films(parts().settings)),
    )
    return render(page)


@blueprint.post("/jobs")
@requires(*SUBMITTERS)
@streams_body
def submit() -> ResponseReturnValue:
    """Take the films of a plain form as one job."""
    receipt = receive_job(Source.WEB)
    return redirect(url_for("jobs.show", job_id=receipt.job.id), 303)
