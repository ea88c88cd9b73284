"""The worklist: one row per image, unread ones first, the most suspicious of them first."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.reviews.claims import claims_of_others
from shared.tables import SavedView, Screening
from web.base.contexts import PageContext, render
from web.base.services import services
from web.base.zones import current_zone
from web.guard.access import REVIEWERS, requires
from web.languages.text import N_, translate
from web.lists.form import FormField, form_fields, say_filters, say_problem
from web.lists.listing import FilterError, Filters, Order, Page, ScreeningSummary, count_listed, list_screenings
from web.lists.planner import Count
from web.lists.readings import Reading
from web.worklist.views import saved_views

blueprint = Blueprint("worklist", __name__)

ROWS_A_PAGE: Final = 50
QUICK: Final[dict[Reading | None, str]] = {
    None: N_("All"),
    Reading.UNREAD: N_("Unread"),
    Reading.SECOND_READER: N_("Second reader"),
    Reading.DISAGREED: N_("Disagreed"),
    Reading.MINE: N_("Mine"),
    Reading.OUTSIDE: N_("Outside intended use"),
}
"""Quick filters by reading; the form has the other ones."""


@dataclass(frozen=True)
class Beside:
    """What a row shows besides the image itself."""

    other_jobs: int
    open_by: tuple[str, ...]
    """Who else has the image open."""


@dataclass(frozen=True)
class WorklistPage(PageContext):
    """One page of the filtered worklist."""

    template = "worklist/index.html"
    page: Page
    problem: str | None
    beside: Mapping[uuid.UUID, Beside]
    total: Count
    quick: Sequence[tuple[str, str, bool]]
    fields: Sequence[FormField]
    active: Sequence[tuple[str, str]]
    values: Mapping[str, str]
    listed: Mapping[str, str]
    views: Sequence[SavedView]
    earlier: str | None
    later: str | None


@blueprint.get("/worklist")
@requires(*REVIEWERS)
def index() -> ResponseReturnValue:
    """Show one page of the worklist."""
    zone = current_zone()
    try:
        filters, problem = Filters.from_args(request.args, zone), None
    except FilterError as error:
        filters, problem = Filters(zone=zone), say_problem(error)
    values = filters.to_args()
    with services().database.read() as db:
        page, cursor = Page([]), request.args.get("cursor") or None
        if problem is None:
            page = list_screenings(db, g.user, filters, Order.UNREAD, cursor, ROWS_A_PAGE)
        context = WorklistPage(
            page=page,
            problem=problem,
            beside=_beside(db, page.rows),
            total=count_listed(db, g.user, filters, None if cursor or problem else page),
            quick=_quick(values),
            fields=form_fields(db, filters, g.user),
            active=_chips(say_filters(db, filters, g.user), values),
            values=values,
            listed={**values, "order": Order.UNREAD.value},
            views=saved_views(db, g.user),
            earlier=_address(values, page.previous_cursor),
            later=_address(values, page.next_cursor),
        )
        shown = render(context)
    return shown, 422 if problem else 200


def _quick(values: dict[str, str]) -> list[tuple[str, str, bool]]:
    """Return name and address of each quick filter, and whether it is the current one; other filters are kept."""
    others = {name: value for name, value in values.items() if name != "review"}
    made = []
    for reading, name in QUICK.items():
        wanted = {**others, **({"review": reading.value} if reading else {})}
        made.append((translate(name), _to(wanted), values.get("review") == reading))
    return made


def _chips(said: Mapping[str, str], values: dict[str, str]) -> list[tuple[str, str]]:
    """Return each active filter except the reading as text, and the address of the list without it."""
    return [
        (text, _to({other: values[other] for other in values if other != name}))
        for name, text in said.items()
        if name != "review" or values["review"] not in list(QUICK)
    ]


def _address(values: dict[str, str], cursor: str | None) -> str | None:
    return _to({**values, "cursor": cursor}) if cursor else None


def _to(values: dict[str, Any]) -> str:
    return url_for("worklist.index", **values)


def _beside(db: Session, rows: Sequence[ScreeningSummary]) -> dict[uuid.UUID, Beside]:
    """Return for each row how many other jobs have its image, and who else has it open."""
    images = [row.image_id for row in rows if row.image_id]
    jobs = func.count(Screening.job_id.distinct())
    query = select(Screening.image_id, jobs).where(Screening.image_id.in_(images)).group_by(Screening.image_id)
    counted = {row[0]: row[1] for row in db.execute(query)}
    open_by: dict[str, tuple[str, ...]] = {}
    for claim in claims_of_others(db, g.user, [row.sha256 for row in rows if row.sha256]):
        open_by[claim.image_sha256] = (*open_by.get(claim.image_sha256, ()), claim.user.name)
    return {
        row.screening_id: Beside(counted.get(row.image_id, 1) - 1, open_by.get(row.sha256 or "", ())) for row in rows
    }


@blueprint.app_template_global()
def list_address(order: str, listed: dict[str, Any]) -> str:
    """Return the address of the list that an image was opened from."""
    if order != Order.UNREAD:
        return url_for("history.index", **listed)
    return _to({name: value for name, value in listed.items() if name != "order"})
