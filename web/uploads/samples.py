"""Submit the synthetic sample images that ship with PneumoScreen, with one click."""

from pathlib import Path

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue

from shared.settings import Settings
from shared.submission.submit import Submission, submit_files
from shared.tables import Source
from web.base.services import services
from web.guard.access import SUBMITTERS, requires
from web.languages.text import _
from web.uploads.receive import sender

blueprint = Blueprint("samples", __name__)

JOB_NAME = "Synthetic samples"
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def sample_images(settings: Settings) -> list[Path]:
    """Return the sample images by name; none where no folder is set."""
    folder = settings.samples_dir
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


@blueprint.post("/samples")
@requires(*SUBMITTERS)
def submit() -> ResponseReturnValue:
    """Submit the sample images as a job."""
    images = sample_images(services().settings)
    if not images:
        abort(404, _("There are no sample X-rays here."))
    receipt = submit_files(services(), sender(), Submission(Source.SAMPLES, JOB_NAME), images)
    return redirect(url_for("jobs.show", job_id=receipt.job.id), 303)
