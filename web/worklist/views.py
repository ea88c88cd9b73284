"""Saved views: filters of the worklist that an account saves under a name."""

import re
import uuid
from collections.abc import Sequence
from typing import Any, Final

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.intake.natural_order import natural_key
from shared.tables import SavedView, User
from web.base.services import services
from web.base.zones import current_zone
from web.guard.access import REVIEWERS, requires, see_other
from web.languages.text import _
from web.lists.filters import Filters

blueprint = Blueprint("views", __name__, url_prefix="/worklist/views")

MOST_VIEWS: Final = 30
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


def saved_views(db: Session, user: User) -> Sequence[SavedView]:
    """Return an account's views by name, 2 before 10."""
    views = db.scalars(select(SavedView).where(SavedView.user_id == user.id)).all()
    return sorted(views, key=lambda view: natural_key(view.name))


@blueprint.post("")
@requires(*REVIEWERS)
def save() -> ResponseReturnValue:
    """Save the filters of an address under a name; an existing view of that name is overwritten."""
    name = request.form.get("name", "").strip()
    arguments = Filters.from_args(request.form, current_zone()).to_args()
    if not _NAME.fullmatch(name):
        abort(422, _("Give the view a name of 1 to 64 characters."))
    with services().database.write() as db:
        own = SavedView.user_id == g.user.id
        known = db.scalar(select(SavedView).where(own, SavedView.name == name))
        if known is not None:
            known.arguments = arguments
        elif (db.scalar(select(func.count()).where(own)) or 0) >= MOST_VIEWS:
            flash(_("An account keeps at most %(most)s views. Remove one first.", most=MOST_VIEWS), "error")
            return _show_list(arguments)
        else:
            db.add(SavedView(user_id=g.user.id, name=name, arguments=arguments))
        record(db, Action.VIEW_CHANGED, user_id=g.user.id, address=request.remote_addr)
    flash(_("The view '%(name)s' is saved.", name=name), "info")
    return _show_list(arguments)


@blueprint.post("/<uuid:view_id>/delete")
@requires(*REVIEWERS)
def delete(view_id: uuid.UUID) -> ResponseReturnValue:
    """Delete a view."""
    with services().database.write() as db:
        view = db.get(SavedView, view_id)
        if view is None or view.user_id != g.user.id:
            abort(404, _("There is no view %(id)s.", id=view_id))
        db.delete(view)
        record(db, Action.VIEW_CHANGED, user_id=g.user.id, subject=view_id, address=request.remote_addr)
    flash(_("The view '%(name)s' is removed.", name=view.name), "info")
    return see_other(url_for("worklist.index"))


def _show_list(arguments: dict[str, Any]) -> ResponseReturnValue:
    return see_other(url_for("worklist.index", **arguments))
