"""Pages of models: the list, and for each model its card, its figures and the effect of other thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, abort, request, send_file
from flask.typing import ResponseReturnValue
from markupsafe import Markup, escape

from shared.errors import ModelUnavailable
from shared.models.folder import find_problem
from shared.quality.statistics import Share
from web.base.blind import blind_reader
from web.base.contexts import PageContext, render
from web.base.numbers import percent
from web.base.paging import FilterError
from web.base.services import services
from web.guard.access import REVIEWERS, requires
from web.languages.text import _, count, decimal, translate
from web.models.card import render_card
from web.models.figures import FIGURES, SET_NAMES, Figure, HeldOut
from web.models.known import Known, find_model, known_models
from web.models.plots import find_plot, list_plots
from web.models.thresholds import NAMES, Thresholds, Tried, counting, of_100, try_thresholds

blueprint = Blueprint("models", __name__)
blueprint.add_app_template_filter(of_100)


@dataclass(frozen=True)
class ModelsPage(PageContext):
    """Every model that is known here."""

    template = "models/list.html"
    models: Sequence[Known]


@dataclass(frozen=True)
class ModelPage(PageContext):
    """One model."""

    template = "models/show.html"
    model: Known
    problem: ModelUnavailable | None
    """What is wrong with its files."""
    unusable: str | None
    """What is wrong with the request."""
    card: Markup | None
    plots: Mapping[str, str]
    """Descriptions of the folder's plots, by name."""
    tried: Tried
    held: HeldOut | None
    """The images of the figures in the table of thresholds."""
    thresholds: Thresholds | None
    reads_blind: bool
    """X-rays whose result is hidden from the viewer are not counted."""
    figure_names: Mapping[str, str]


@blueprint.get("/models")
@requires(*REVIEWERS)
def index() -> ResponseReturnValue:
    """List the models."""
    return render(ModelsPage(known_models()))


@blueprint.get("/models/<name>")
@requires(*REVIEWERS)
def show(name: str) -> ResponseReturnValue:
    """Show one model, and the effect of a threshold where one is named."""
    model = find_model(name)
    tried, unusable = Tried(), None
    try:
        tried = Tried.from_args(request.args, model.sets)
    except FilterError as error:
        unusable = _("%(field)s: %(problem)s", field=_(NAMES[error.field]), problem=error.message)
    held, thresholds, card = None, None, None
    if model.spec is not None:
        held = next((some for some in model.sets if some.name == tried.figures), None)
        held = held or model.worst
        card = render_card(services().settings.models_dir / name)
        with counting.turn(), services().database.read() as db:
            thresholds = try_thresholds(db, model.spec, model.used, held, tried)
    context = ModelPage(
        model=model,
        problem=model.problem or (find_problem(services().settings.models_dir, name) if model.has_weights else None),
        unusable=unusable,
        card=card,
        plots=list_plots(services().settings.models_dir / name) if model.spec else {},
        tried=tried,
        held=held,
        thresholds=thresholds,
        reads_blind=blind_reader() is not None,
        figure_names=FIGURES,
    )
    return render(context), 422 if unusable else 200


@blueprint.get("/models/<name>/plots/<plot>.png")
@requires(*REVIEWERS)
def plot(name: str, plot: str) -> ResponseReturnValue:
    """Send one of the plots in a model's folder."""
    path = find_plot(services().settings.models_dir / find_model(name).name, plot)
    if path is None:
        abort(404, _("There is no plot '%(plot)s' of a model '%(name)s'.", plot=plot, name=name))
    return send_file(path.resolve(), mimetype="image/png", max_age=0)


@blueprint.app_template_filter()
def figure(value: Figure | None) -> str:
    """Format a figure with its interval."""
    if value is None:
        return "\N{EN DASH}"
    said = decimal(value.value, 3)
    if value.interval is None:
        return said
    low, high = (decimal(end, 3) for end in value.interval)
    return _("%(value)s (%(low)s to %(high)s)", value=said, low=low, high=high)


@blueprint.app_template_filter()
def share_of(value: Share) -> str:
    """Format a share with its interval and the numbers behind it."""
    if not value.whole:
        return "\N{EN DASH}"
    low, high = (percent(end) for end in value.interval)
    # Translators: a share with its 95 % interval, and the numbers behind it: "40.0% (21.9% to 61.3%), 8 of 20".
    return _(
        "%(share)s (%(low)s to %(high)s), %(part)s of %(all)s",
        share=percent(value.value),
        low=low,
        high=high,
        part=count(value.part),
        all=count(value.whole),
    )


@blueprint.app_template_filter()
def name_set(name: str) -> Markup:
    """Return the name of a set of held-out images; one that only its folder knows is not translated."""
    if name in SET_NAMES:
        return escape(translate(SET_NAMES[name]))
    return Markup('<bdi translate="no">{}</bdi>').format(name.capitalize())
