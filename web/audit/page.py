"""The audit trail page for administrators: read, filter and export it, and verify its chain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, current_app, flash, g, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.chain import Head, HeadMalformed, read_head
from shared.audit.record import Action, record
from shared.audit.trail import FORMATS, TrailFilters, iterate_events, read_events, write_trail
from shared.audit.verify import Verification, verify
from shared.db import now
from shared.tables import AuditEvent, Role, User
from web.audit.listing import (
    ACTIONS,
    FILTERS,
    EventPage,
    Subject,
    list_events,
    name_action,
    name_detail,
    name_subjects,
    name_value,
    read_filters,
    say_fault,
)
from web.base.contexts import PageContext, render
from web.base.paging import FilterError
from web.base.services import services
from web.guard.access import requires, see_other
from web.history.export import exporting
from web.languages.text import N_, _, translate

blueprint = Blueprint("audit", __name__)

EVENTS_A_PAGE: Final = 50
MOST_PEOPLE: Final = 500
"""Names suggested while one is typed; any other can be typed too."""

# A request verifies for so long, about 20,000 rows, and leaves the rest to the next: no thread is blocked for minutes.
STEP_SECONDS: Final = 1.0
_STATE_SECONDS: Final = 3600


@dataclass(frozen=True)
class TrailPage(PageContext):
    """One page of the filtered trail, and the result of the last verification."""

    template = "audit/index.html"
    page: EventPage
    problem: str | None
    values: dict[str, str]
    subjects: Mapping[str, Subject]
    actions: Mapping[Action, str]
    name_action: Callable[[str], str]
    name_detail: Callable[[str], str]
    name_value: Callable[[str, str], str]
    say_fault: Callable[[Mapping[str, str]], str]
    filter_words: Mapping[str, str]
    people: Sequence[str]
    head: Head | None
    verified: AuditEvent | None
    newer: str | None
    older: str | None


@dataclass(frozen=True)
class VerifyingPage(PageContext):
    """Progress of a verification; `following` is the address of its next step."""

    template = "audit/verify.html"
    found: Verification
    following: str


@blueprint.get("/audit")
@requires(Role.ADMIN)
def index() -> ResponseReturnValue:
    """Show one page of the filtered trail, newest first, and the result of the last verification."""
    filters, page, problem = TrailFilters(), EventPage([]), None
    with services().database.read() as db:
        try:
            filters = read_filters(request.args)
            page = list_events(db, filters, request.args.get("cursor") or None, EVENTS_A_PAGE)
        except FilterError as error:
            name = translate(FILTERS.get(error.field, N_("Page")))
            problem = _("%(field)s: %(problem)s", field=name, problem=error.message)
        values = filters.to_args()
        context = TrailPage(
            page=page,
            problem=problem,
            values=values,
            subjects=name_subjects(db, page.rows),
            actions=ACTIONS,
            name_action=name_action,
            name_detail=name_detail,
            name_value=name_value,
            say_fault=say_fault,
            filter_words=FILTERS,
            people=db.scalars(select(User.name).order_by(User.name).limit(MOST_PEOPLE)).all(),
            head=_head(db),
            verified=_last_verified(db),
            newer=_turn(page.previous_cursor, values),
            older=_turn(page.next_cursor, values),
        )
        shown = render(context)
    return shown, 422 if problem else 200


def _turn(cursor: str | None, values: dict[str, str]) -> str | None:
    arguments: dict[str, Any] = {**values, "cursor": cursor}
    return None if cursor is None else url_for("audit.index", **arguments)


def _head(db: Session) -> Head | None:
    try:
        return read_head(db)
    except HeadMalformed:
        return None


def _last_verified(db: Session) -> AuditEvent | None:
    verified = select(AuditEvent).where(AuditEvent.action == Action.AUDIT_VERIFIED)
    found = read_events(db, verified.order_by(AuditEvent.sequence.desc()).limit(1))
    return found[0] if found and found[0].action == Action.AUDIT_VERIFIED else None


@blueprint.get("/audit/export")
@requires(Role.ADMIN)
def export() -> ResponseReturnValue:
    """Export the filtered trail as a file, CSV or JSON, oldest first."""
    form = request.args.get("format", FORMATS[0])
    if form not in FORMATS:
        raise FilterError("format", f"Give {' or '.join(FORMATS)}. Received: '{form}'.")
    return export_events(read_filters(request.args), form)


def export_events(filters: TrailFilters, form: str) -> Response:
    """Stream every event that matches the filters; `form` is one of FORMATS. The export itself is recorded."""
    return exporting.stream(lambda: _export(filters, form))


def _export(filters: TrailFilters, form: str) -> Response:
    database = services().database
    with database.write() as db:
        detail = {"format": form, **filters.to_args()}
        record(db, Action.AUDIT_EXPORTED, user_id=g.user.id, address=request.remote_addr, detail=detail)
    pieces = write_trail(iterate_events(database, filters), form)
    media_type = "text/csv" if form == "csv" else "application/json"
    response = Response(stream_with_context(pieces), content_type=f"{media_type}; charset=utf-8")
    name = f"pneumoscreen-audit-{now():%Y-%m-%d}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post("/audit/verify")
@requires(Role.ADMIN)
def start_verifying() -> ResponseReturnValue:
    """Verify the chain from its first row."""
    found = verify(services().database, seconds=STEP_SECONDS)
    return _tell(found) if found.is_over else see_other(_address(found))


@blueprint.get("/audit/verify")
@requires(Role.ADMIN)
def go_on_verifying() -> ResponseReturnValue:
    """Continue verifying for a while; the resulting page requests the next step by itself."""
    try:
        place, goal = _signer().loads(request.args.get("state", ""), max_age=_STATE_SECONDS)
    except BadSignature:
        flash(_("This verification is over. Start it again."), "info")
        return see_other(url_for("audit.index"))
    found = verify(services().database, place=Head(*place), goal=Head(*goal), seconds=STEP_SECONDS)
    if found.is_over:
        return _tell(found)
    return render(VerifyingPage(found, following=_address(found)))


def _signer() -> URLSafeTimedSerializer:
    # Signed, because rows before `place` are assumed to be verified.
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="audit-verification")


def _address(found: Verification) -> str:
    state = [(head.sequence, head.hash) for head in (found.place, found.goal)]
    return url_for("audit.go_on_verifying", state=_signer().dumps(state))


def _tell(found: Verification) -> Response:
    """Record the outcome, where the page finds it for everyone, and redirect there."""
    broken = found.broken
    if broken is None:
        detail = {"result": "whole", "head": str(found.place)}
    else:
        detail = {"result": "broken", "row": str(broken.sequence), "fault": broken.fault.value, "said": broken.message}
    with services().database.write() as db:
        record(db, Action.AUDIT_VERIFIED, user_id=g.user.id, address=request.remote_addr, detail=detail)
    return see_other(url_for("audit.index"))
