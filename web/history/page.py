"""The history page: all images ever sent, filtered, ordered and paged, and its exports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from shared.db import time_of
from web.base.contexts import PageContext, render
from web.base.numbers import moment
from web.base.services import services
from web.base.zones import current_zone
from web.guard.access import requires
from web.history.export import FORMATS, export_screenings
from web.languages.text import _, decimal
from web.lists.filters import FILTERS, received
from web.lists.form import FormField, form_fields, name_field, say_filters, say_problem
from web.lists.kinds import ask_for, fill_in
from web.lists.listing import FilterError, Filters, Order, Page, list_screenings
from web.lists.planner import Count, count_unanswered

blueprint = Blueprint("history", __name__)
# Globals, for the error page and the help page.
blueprint.record_once(lambda state: state.app.jinja_env.globals.update(filters=FILTERS, name_field=name_field))

IMAGES_PER_PAGE = 50


@dataclass(frozen=True)
class Chip:
    """One active filter, and the URL of the same list without it."""

    text: str
    without: str


@dataclass(frozen=True)
class HistoryPage(PageContext):
    """One page of the filtered images."""

    template = "history/index.html"
    page: Page
    unanswered: Count
    """Matching images without a result, which have no place in the order."""
    searched: Markup | None
    problem: str | None
    values: Mapping[str, str]
    order: str
    listed: Mapping[str, str]
    fields: Sequence[FormField]
    active: Sequence[Chip]
    newer: str | None
    older: str | None


@blueprint.get("/history")
@requires()
def index() -> ResponseReturnValue:
    """Show one page of the filtered images."""
    try:
        filters, order, problem = Filters.from_args(request.args, current_zone()), Order.from_args(request.args), None
    except FilterError as error:
        filters, order = Filters(zone=current_zone()), Order.NEWEST
        problem = say_problem(error)
    with services().database.read() as db:
        page = Page([])
        if problem is None:
            page = list_screenings(db, g.user, filters, order, request.args.get("cursor") or None, IMAGES_PER_PAGE)
        fields, said = form_fields(db, filters, g.user), say_filters(db, filters, g.user)
        unanswered = Count(0) if problem or order is Order.NEWEST else count_unanswered(db, g.user, filters)
    values = filters.to_args()
    context = HistoryPage(
        page=page,
        unanswered=unanswered,
        searched=_say_reached(page, order),
        problem=problem,
        values=values,
        order=order.value,
        listed={**values, "order": order.value},
        fields=fields,
        active=_chips(said, values, order),
        newer=_turn(page.previous_cursor, values, order),
        older=_turn(page.next_cursor, values, order),
    )
    return render(context), 422 if problem else 200


@blueprint.get("/history/export")
@requires()
def export() -> ResponseReturnValue:
    """Send all filtered images as a file, CSV or JSON."""
    form = request.args.get("format", FORMATS[0])
    if form not in FORMATS:
        raise FilterError("format", f"{ask_for(FORMATS)} {received(form)}")
    return export_screenings(Filters.from_args(request.args, current_zone()), Order.from_args(request.args), form)


def _say_reached(page: Page, order: Order) -> Markup | None:
    """Say how far was searched where the page is short because the search was cut short; else None."""
    if page.reached is None:
        return None
    if order is Order.NEWEST:
        return fill_in(_("Searched so far: X-rays sent since %(time)s."), time=moment(time_of(page.reached[-1])))
    least = decimal(100 * page.reached[-2], 1)
    return fill_in(_("Searched so far: X-rays with a suspicion of %(number)s or more."), number=least)


def _turn(cursor: str | None, values: dict[str, str], order: Order) -> str | None:
    return None if cursor is None else _address(values, order, cursor=cursor)


def _address(values: dict[str, str], order: Order, **more: str) -> str:
    query: dict[str, Any] = {**values, "order": order.value, **more}
    return url_for("history.index", **query)


def _chips(said: Mapping[str, str], values: dict[str, str], order: Order) -> list[Chip]:
    return [
        Chip(text, _address({other: values[other] for other in values if other != name}, order))
        for name, text in said.items()
    ]
