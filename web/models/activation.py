"""Pages on which an administrator puts a threshold or a model in force: a preview of the effect, then the button."""

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import ActivationRefused, ModelUnavailable
from shared.models.folder import find_problem
from shared.tables import Role
from web.base.contexts import PageContext, render
from web.base.paging import FilterError
from web.base.services import services
from web.guard.access import requires, see_other
from web.languages.text import _, say
from web.models.change import change_default, change_threshold
from web.models.known import Known, find_model, known_models
from web.models.thresholds import MONTH, Thresholds, Tried, counting, of_100, read_hundredth, try_thresholds

blueprint = Blueprint("activation", __name__)


@dataclass(frozen=True)
class ThresholdPage(PageContext):
    """The effect of another threshold, and the button that puts it in force."""

    template = "models/threshold.html"
    model: Known
    threshold: float | None
    """The one to put in force; None where it is invalid."""
    thresholds: Thresholds | None
    days: int
    problem: str | None


@dataclass(frozen=True)
class DefaultPage(PageContext):
    """The effect of another default model, and the button."""

    template = "models/default.html"
    model: Known
    present: Known
    problem: str | None
    unusable: ModelUnavailable | None
    """What is wrong with its files, in English."""


@blueprint.get("/models/<name>/threshold")
@requires(Role.ADMIN)
def ask_threshold(name: str) -> ResponseReturnValue:
    """Show the effect that a threshold would have had, before it is put in force."""
    model = find_model(name)
    try:
        return _threshold_page(model, read_hundredth("threshold", request.args))
    except FilterError as error:
        return _threshold_page(model, None, _say(error)), HTTPStatus.UNPROCESSABLE_ENTITY


def _say(error: FilterError) -> str:
    return ": ".join([_("Threshold"), error.message])


@blueprint.post("/models/<name>/threshold")
@requires(Role.ADMIN)
def put_threshold(name: str) -> ResponseReturnValue:
    """Put a threshold in force."""
    model = find_model(name)
    try:
        threshold = read_hundredth("threshold", request.form)
        shown = read_hundredth("shown", request.form)
    except FilterError as error:
        return _threshold_page(model, None, _say(error)), HTTPStatus.UNPROCESSABLE_ENTITY
    if threshold is None:
        return _threshold_page(model, None), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        fresh = change_threshold(name, threshold, shown)
    except ActivationRefused as refused:
        said = say(refused)
        return _threshold_page(find_model(name), threshold, said), HTTPStatus.CONFLICT
    number = of_100(fresh.threshold)
    flash(
        _(
            "The threshold of %(name)s is now %(number)s. Results keep their label. You can restore the previous "
            "threshold below.",
            name=name,
            number=number,
        ),
        "info",
    )
    return see_other(url_for("models.show", name=name))


@blueprint.get("/models/<name>/default")
@requires(Role.ADMIN)
def ask_default(name: str) -> ResponseReturnValue:
    """Show the effect of another default model, before it is put in force."""
    return _default_page(find_model(name))


@blueprint.post("/models/<name>/default")
@requires(Role.ADMIN)
def put_default(name: str) -> ResponseReturnValue:
    """Make another model the default of new jobs."""
    try:
        before = change_default(name, request.form.get("shown") or None)
    except ActivationRefused as refused:
        return _default_page(find_model(name), say(refused))
    flash(
        _(
            "New jobs now use %(name)s instead of %(before)s. Existing jobs keep their model.",
            name=name,
            before=before,
        ),
        "info",
    )
    return see_other(url_for("models.index"))


def _threshold_page(model: Known, threshold: float | None, problem: str | None = None) -> str:
    thresholds = None
    if model.spec is not None and threshold is not None:
        with counting.turn(), services().database.read() as db:
            thresholds = try_thresholds(db, model.spec, model.used, model.worst, Tried(threshold))
    return render(ThresholdPage(model, threshold, thresholds, MONTH, problem))


def _default_page(model: Known, problem: str | None = None) -> ResponseReturnValue:
    unusable = find_problem(services().settings.models_dir, model.name)
    present = next(known for known in known_models() if known.is_default)
    page = render(DefaultPage(model, present, None if unusable else problem, unusable))
    return page, HTTPStatus.CONFLICT if problem or unusable else HTTPStatus.OK
