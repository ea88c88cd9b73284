"""The help page; its tables are generated from the states and rejections in the code."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint
from flask.typing import ResponseReturnValue

from shared.refusals import REFUSALS, Refusal
from shared.settings import Settings
from shared.states import State
from web.base.contexts import PageContext, render
from web.base.services import services
from web.frame import words
from web.guard.access import requires

blueprint = Blueprint("guide", __name__)

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WebP", "DICOM (CR, DX, RG)")


@dataclass(frozen=True)
class HelpPage(PageContext):
    """What the software does and what it must not be used for."""

    template = "guide/index.html"
    settings: Settings
    formats: Sequence[str]
    states: Sequence[tuple[State, words.Words]]
    reasons: Sequence[tuple[str, Refusal]]


@blueprint.get("/help")
@requires()
def index() -> ResponseReturnValue:
    """Explain what the software does and what it must not be used for."""
    page = HelpPage(
        settings=services().settings,
        formats=FORMATS,
        states=[(state, words.STATES[state]) for state in State],
        reasons=list(REFUSALS.items()),
    )
    return render(page)
