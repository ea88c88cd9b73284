"""Every film that was ever sent, filtered, in order, a page at a time, and as a file."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import time_of
from shared.models.spec import Label
from shared.states import State
from shared.tables import Job, Model
from web.base.services import parts
from web.frame import words
from web.guard.access import requires
from web.history.export import FORMATS, export_films
from web.lists.listing import FilterError, Filters, Order, Page, get_job, list_films
from web.lists.planner import Count, count_unanswered

blueprint = Blueprint("history", __name__)

FILMS_A_PAGE = 50
CONFIDENCES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Chip:
    """One active filter, and the address of the same list without it."""

    text: str
    without: str


@blueprint.get("/history")
@requires()
def index() -> ResponseReturnValue:
    """Show one page of what is filtered."""
    try:
        filters, order, problem = Filters.from_args(request.args), Order.from_args(request.args), None
    except FilterError as error:
        filters, order = Filters(), Order.NEWEST
        problem = f"{words.FILTERS.get(error.field, error.field)}: {error.message}"
    with parts().database.read() as db:
        page = Page([])
        if problem is None:
            page = list_films(db, g.user, filters, order, request.args.get("cursor") or None, FILMS_A_PAGE)
        job = get_job(db, g.user, filters.job_id) if filters.job_id else None
        models = _model_names(db)
        unanswered = Count(0) if problem or order is Order.NEWEST else count_unanswered(db, g.user, filters)
    values = filters.to_args()
    shown = render_template(
        "history/index.html",
        page=page,
        unanswered=unanswered,
        searched=_say_reached(page, order),
        problem=problem,
        values=values,
        order=order.value,
        listed={**values, "order": order.value},
        models=models,
        active=_chips(values, order, job),
        confidences=_confidences,
        newer=_turn(page.previous_cursor, values, order),
        older=_turn(page.next_cursor, values, order),
    )
    return shown, 422 if problem else 200


@blueprint.get("/history/export")
@requires()
def export() -> ResponseReturnValue:
    """Send all that is filtered as a file, CSV or JSON."""
    form = request.args.get("format", FORMATS[0])
    if form not in FORMATS:
        raise FilterError("format", f"Give {' or '.join(FORMATS)}. Received: '{form}'.")
    return export_films(Filters.from_args(request.args), Order.from_args(request.args), form)


def _say_reached(page: Page, order: Order) -> str | None:
    """Say how far was searched, where the page is short because the search was cut; None where it was not."""
    if page.reached is None:
        return None
    if order is Order.NEWEST:
        return f"films sent since {time_of(page.reached[-1]):%Y-%m-%d %H:%M} (UTC)"
    return f"films with p(pneumonia) from {100 * page.reached[0]:.1f}%"


def _turn(cursor: str | None, values: dict[str, str], order: Order) -> str | None:
    return None if cursor is None else _address(values, order, cursor=cursor)


def _address(values: dict[str, str], order: Order, **more: str) -> str:
    query: dict[str, Any] = {**values, "order": order.value, **more}
    return url_for("history.index", **query)


def _model_names(db: Session) -> list[str]:
    """List the models that have screened here, each exact set of weights by its version."""
    rows = db.execute(select(Model.name, Model.sha256).order_by(Model.created_at.desc()))
    return [f"{name}@{sha256[:12]}" for name, sha256 in rows]


def _confidences(present: str | None) -> list[tuple[str, str]]:
    """List the steps of a confidence filter, and the one in the address where it is none of them."""
    steps = {*CONFIDENCES, *([float(present)] if present else [])}
    return [(str(step), f"{step * 100:g}%") for step in sorted(steps)]


def _chips(values: dict[str, str], order: Order, job: Job | None) -> list[Chip]:
    said = {name: _say(name, value, job) for name, value in values.items()}
    return [
        Chip(text, _address({other: values[other] for other in values if other != name}, order))
        for name, text in said.items()
    ]


def _say(name: str, value: str, job: Job | None) -> str:
    sentences: dict[str, Any] = {
        "label": lambda: f"Label: {words.LABELS[Label(value)].name}",
        "min_confidence": lambda: f"Confidence from {float(value) * 100:g}%",
        "max_confidence": lambda: f"Confidence to {float(value) * 100:g}%",
        "since": lambda: f"Sent from {value} (UTC)",
        "until": lambda: f"Sent to {value} (UTC)",
        "job": lambda: f"Job: {job.name if job else value}",
        "model": lambda: f"Model: {value}",
        "text": lambda: f"File name contains: {value}",
        "state": lambda: f"State: {words.STATES[State(value)].name}",
    }
    return str(sentences[name]())
