"""Pages of a shadow model: choose one, end it, and compare its answers with those of the default model.

They are for administrators only, and show totals: the shadow's answer for a single image is never shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, flash, url_for
from flask.typing import ResponseReturnValue

from shared.errors import ActivationRefused, ModelUnavailable
from shared.models.folder import find_problem
from shared.quality.paired import (
    Compared,
    Differences,
    Judged,
    LabelAgreement,
    agree_on_labels,
    correlate,
    judge_both,
    measure_by_band,
    measure_differences,
    read_pairs,
)
from shared.quality.readings import name_labels, read_reviews
from shared.tables import Role
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.languages.text import _, decimal, say
from web.models.change import change_shadow
from web.models.known import Known, find_model, known_models
from web.models.thresholds import counting

blueprint = Blueprint("comparison", __name__)


@dataclass(frozen=True)
class ShadowPage(PageContext):
    """The effect of a shadow model, and the button."""

    template = "models/shadow.html"
    model: Known
    present: Known
    """The default model."""
    shadow: Known | None
    """The current shadow model."""
    problem: str | None
    unusable: ModelUnavailable | None
    """What is wrong with its files, in English."""


@dataclass(frozen=True)
class ComparisonPage(PageContext):
    """Two models compared on the same images."""

    template = "models/comparison.html"
    model: Known
    present: Known
    compared: Compared
    labels: LabelAgreement
    correlation: float | None
    differences: Differences | None
    bands: Sequence[tuple[float, float, Differences | None]]
    reviewed: tuple[Judged, Judged]
    """The default model, and the shadow model."""


@blueprint.get("/models/<name>/shadow")
@requires(Role.ADMIN)
def ask(name: str) -> ResponseReturnValue:
    """Show the effect of making a model the shadow model."""
    return _ask_page(find_model(name))


@blueprint.post("/models/<name>/shadow")
@requires(Role.ADMIN)
def begin(name: str) -> ResponseReturnValue:
    """Make a model the shadow model."""
    try:
        change_shadow(name)
    except ActivationRefused as refused:
        return _ask_page(find_model(name), say(refused))
    flash(
        _(
            "%(name)s now reads the same X-rays whenever no others are waiting. Its answers appear on this page only.",
            name=name,
        ),
        "info",
    )
    return see_other(url_for("comparison.show", name=name))


@blueprint.post("/models/<name>/shadow/end")
@requires(Role.ADMIN)
def end(name: str) -> ResponseReturnValue:
    """End the shadow model; its past answers remain here."""
    model = find_model(name)
    if model.is_shadow:
        change_shadow(None)
        flash(
            _("%(name)s is no longer the shadow model. Its answers so far stay on this page.", name=name),
            "info",
        )
    return see_other(url_for("comparison.show", name=name))


@blueprint.get("/models/<name>/comparison")
@requires(Role.ADMIN)
def show(name: str) -> ResponseReturnValue:
    """Compare a shadow model with the default one on the images that both answered."""
    model, present = find_model(name), _default()
    with counting.turn(), services().database.read() as db:
        compared = read_pairs(db, model.name, present.name)
        truth = name_labels(read_reviews(db, None, blind_for=None)).labels if compared.pairs else {}
    pairs = compared.pairs
    return render(
        ComparisonPage(
            model=model,
            present=present,
            compared=compared,
            labels=agree_on_labels(pairs),
            correlation=correlate(pairs),
            differences=measure_differences(pairs),
            bands=measure_by_band(pairs),
            reviewed=judge_both(pairs, truth),
        )
    )


def _default() -> Known:
    return next(known for known in known_models() if known.is_default)


def _ask_page(model: Known, problem: str | None = None) -> ResponseReturnValue:
    unusable = find_problem(services().settings.models_dir, model.name)
    known = known_models()
    shadow = next((one for one in known if one.is_shadow), None)
    page = render(ShadowPage(model, _default(), shadow, None if unusable else problem, unusable))
    return page, HTTPStatus.CONFLICT if problem or unusable else HTTPStatus.OK


@blueprint.app_template_filter()
def points(value: float) -> str:
    """Write a difference of suspicions, -1 to 1, in points of 100."""
    return decimal(value * 100, 1).replace("-", "\N{MINUS SIGN}")
