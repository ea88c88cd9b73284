"""The help page; its tables are made from the states and rejections that the code knows."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from shared.refusals import REFUSALS
from shared.states import State
from web.base.services import services
from web.frame import words
from web.guard.access import requires

blueprint = Blueprint("guide", __name__)

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WebP", "DICOM (CR, DX)")


@blueprint.get("/help")
@requires()
def index() -> ResponseReturnValue:
    """Explain what it does and must not be used for."""
    return render_template(
        "guide/index.html",
        settings=services().settings,
        formats=FORMATS,
        states=[(state, words.STATES[state]) for state in State],
        reasons=REFUSALS.items(),
    )
