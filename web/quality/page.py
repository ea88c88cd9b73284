"""The quality page: volume, speed, refusals, and whether readers and the model agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from flask import Blueprint, Response, abort, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.activations.in_force import default_model
from shared.audit.record import Action, record
from shared.quality.readings import MOST_REVIEWS
from shared.quality.statistics import Gap, Kappa, Share, calibration_error, quantile
from shared.quality.volume import MOST_ROWS, typical_seconds
from shared.reviews.truth import LeftOut
from shared.tables import Model
from web.base.blind import blind_reader
from web.base.concurrency import Turns
from web.base.contexts import PageContext, render
from web.base.days import full_day
from web.base.numbers import duration, percent
from web.base.paging import FilterError
from web.base.services import services
from web.base.zones import current_zone
from web.guard.access import REVIEWERS, requires
from web.languages.text import N_, _, count, decimal, plural, translate
from web.quality.charts import (
    Chart,
    draw_brightness,
    draw_calibration,
    draw_contrast,
    draw_days,
    draw_flagged,
    draw_suspicion,
    draw_times,
)
from web.quality.figures import CHANCE, FEWEST, LARGE_GAP, Beside, Figures, count_figures
from web.quality.selection import CHOICES, NAMES, Selection
from web.quality.tables import TABLES, Kind, Table, write_csv

blueprint = Blueprint("quality", __name__)

_AT_ONCE: Final = 2
_counting = Turns(_AT_ONCE, 10, N_("Other quality figures are being calculated."))
"""Each may read a million rows; others wait ten seconds for their turn."""


@dataclass(frozen=True)
class QualityPage(PageContext):
    """The figures of a period, each as a sentence, a chart and a table."""

    template = "quality/index.html"
    problem: str | None
    selection: Selection | None
    figures: Figures | None
    charts: Mapping[str, Chart]
    tables: Mapping[str, Table]
    quick: Sequence[tuple[str, str, bool]]
    models: Sequence[str]
    most_rows: int
    most_reviews: int
    reads_blind: bool
    """X-rays whose result is hidden from the viewer are not counted."""


@blueprint.get("/quality")
@requires(*REVIEWERS)
def index() -> ResponseReturnValue:
    """Show the figures of a period."""
    selection, figures, problem = None, None, None
    try:
        selection = Selection.from_args(request.args, current_zone())
    except FilterError as error:
        problem = _("%(field)s: %(problem)s", field=_(NAMES[error.field]), problem=error.message)
    with _counting.turn(), services().database.read() as db:
        if selection is not None:
            figures = count_figures(db, selection, services().settings.models_dir, blind_reader())
        models = _models(db)
    context = QualityPage(
        problem=problem,
        selection=selection,
        figures=figures,
        charts=_draw(figures) if figures else {},
        tables={name: make(figures) for name, make in TABLES.items()} if figures else {},
        quick=_quick(selection) if selection else [],
        models=models,
        most_rows=MOST_ROWS,
        most_reviews=MOST_REVIEWS,
        reads_blind=blind_reader() is not None,
    )
    return render(context), 422 if problem else 200


@blueprint.get("/quality/<name>.csv")
@requires(*REVIEWERS)
def export(name: str) -> ResponseReturnValue:
    """Send one of the tables as CSV; the export is recorded in the audit trail."""
    if name not in TABLES:
        abort(404, _("There is no table '%(name)s'. There are: %(names)s.", name=name, names=", ".join(TABLES)))
    selection = Selection.from_args(request.args, current_zone())
    detail = {"table": name, **selection.to_args()}
    with services().database.write() as db:
        record(db, Action.QUALITY_EXPORTED, user_id=g.user.id, address=request.remote_addr, detail=detail)
    with _counting.turn(), services().database.read() as db:
        text = write_csv(TABLES[name](count_figures(db, selection, services().settings.models_dir, blind_reader())))
    response = Response(text, content_type="text/csv; charset=utf-8")
    days = f"{selection.period.since}-{selection.period.until}"
    response.headers["Content-Disposition"] = f'attachment; filename="pneumoscreen-{name}-{days}.csv"'
    return response


def _models(db: Session) -> list[str]:
    """Return the names of the models that have screened here, and of the default one."""
    known = db.scalars(select(Model.name).distinct())
    return sorted({*known, default_model(db, services().settings.model)})


def _quick(selection: Selection) -> list[tuple[str, str, bool]]:
    """Return name and address of each preset length, ending on the same day, and whether it is the current one."""
    until = selection.period.until
    made = []
    for days in CHOICES:
        since = until - timedelta(days=days - 1)
        arguments: dict[str, Any] = {**selection.to_args(), "since": since.isoformat()}
        made.append(
            (
                plural(days, "%(count)s day", "%(count)s days"),
                url_for("quality.index", **arguments),
                since == selection.period.since,
            )
        )
    return made


def _draw(figures: Figures) -> dict[str, Chart]:
    charts: dict[str, Chart] = {}
    if figures.volume.total.images:
        charts["days"] = draw_days(figures.volume)
    if figures.volume.total.labels:
        charts["flagged"] = draw_flagged(figures.volume)
    if figures.volume.total.seconds:
        charts["times"] = draw_times(figures.volume)
    if figures.bins:
        charts["calibration"] = draw_calibration(figures.bins)
    if figures.suspicion:
        charts["suspicion"] = draw_suspicion(figures)
    if figures.exposure and figures.exposure.found.images:
        charts["brightness"] = draw_brightness(figures.exposure.brightness)
        charts["contrast"] = draw_contrast(figures.exposure.contrast)
    return charts


@blueprint.app_template_filter()
def time_taken(seconds: float | None) -> str:
    """Format a duration: in tenths of a second below a minute."""
    if seconds is None or seconds >= 60:
        return duration(seconds)
    return _("%(seconds)s s", seconds=decimal(seconds, 1))


_WRITERS: Final[dict[Kind, Callable[[Any], str]]] = {
    Kind.DAY: full_day,
    Kind.COUNT: count,
    Kind.PERCENT: percent,
    Kind.SUSPICION: lambda value: decimal(value * 100, 0),
    Kind.SECONDS: time_taken,
    Kind.TEXT: translate,
}


@blueprint.app_template_filter()
def cell(value: Any, kind: Kind) -> str:
    """Format a value of a table."""
    return "\N{EN DASH}" if value is None else _WRITERS.get(kind, str)(value)


@blueprint.app_template_filter()
def with_interval(share: Share) -> str:
    """Format a share with its 95 % interval."""
    if not share.whole:
        return "\N{EN DASH}"
    low, high = share.interval
    return _("%(value)s (%(low)s to %(high)s)", value=percent(share.value), low=percent(low), high=percent(high))


@blueprint.app_template_filter()
def kappa(value: Kappa | None) -> str:
    """Format kappa with its 95 % interval."""
    if value is None:
        return _("Cohen's kappa is not defined.")
    shown = decimal(value.value, 2)
    if value.interval is None and value.value < 0:
        return _("Cohen's kappa %(value)s (they always differed, so without an interval).", value=shown)
    if value.interval is None:
        return _("Cohen's kappa %(value)s (they never differed, so without an interval).", value=shown)
    low, high = (decimal(end, 2) for end in value.interval)
    return _("Cohen's kappa %(value)s (%(low)s to %(high)s).", value=shown, low=low, high=high)


@blueprint.app_template_filter()
def left_out(counts: Mapping[LeftOut, int]) -> str:
    """Say how many were left out and why."""
    # Translators: what stands between the things of a list.
    return _(", ").join(_say_left_out(reason, counts[reason]) for reason in LeftOut if counts.get(reason))


def _say_left_out(reason: LeftOut, images: int) -> str:
    # Translators: X-rays in a list: "Not counted: 3 technically inadequate, 2 with another finding."
    if reason is LeftOut.INADEQUATE:
        return plural(images, "%(count)s technically inadequate", "%(count)s technically inadequate")
    if reason is LeftOut.SECOND_READER:
        return plural(images, "%(count)s waiting for a second reader", "%(count)s waiting for a second reader")
    if reason is LeftOut.OTHER:
        return plural(images, "%(count)s with another finding", "%(count)s with another finding")
    return plural(images, "%(count)s on which readers differ", "%(count)s on which readers differ")


@blueprint.app_template_global()
def quality_words(figures: Figures) -> dict[str, Any]:
    """Return the figures in the sentences of the page."""
    median, late = typical_seconds(figures.volume.total)
    return {
        "median": median,
        "late": late,
        "error": calibration_error(figures.bins),
        "chance": decimal(CHANCE, 2),
        "large_gap": decimal(LARGE_GAP, 2),
        "fewest": FEWEST,
        **_gap_words(figures.gap),
    }


@blueprint.app_template_global()
def exposure_words(beside: Beside) -> dict[str, Any]:
    """Return the figures in the sentences on one measure of exposure."""
    return {
        **_gap_words(beside.gap),
        "training": count(sum(beside.training.values())),
        "now": quantile(beside.now, 0.5),
        "then": quantile(beside.training, 0.5),
    }


def _gap_words(gap: Gap | None) -> dict[str, str]:
    if gap is None:
        return {"gap": "", "p_value": ""}
    return {"gap": decimal(gap.distance, 3), "p_value": _write_p_value(gap.p_value)}


def _write_p_value(value: float) -> str:
    return f"< {decimal(0.001, 3)}" if value < 0.001 else f"= {decimal(value, 3)}"
