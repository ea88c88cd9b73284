"""The frame of every page: who is signed in, which model screens, and the texts that templates use."""

import logging
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g
from sqlalchemy.exc import SQLAlchemyError

from shared.activations.in_force import default_model, spec_in_force
from shared.errors import ModelUnavailable
from shared.models.folder import find_problem, find_spec
from shared.models.spec import ModelSpec
from shared.tables import User
from web.base import numbers, suspicion
from web.base.services import services
from web.frame import words
from web.frame.file_names import breakable
from web.frame.row_texts import addresses, translated

log = logging.getLogger(__name__)

blueprint = Blueprint("frame", __name__)
numbers.register(blueprint)
blueprint.add_app_template_filter(breakable)
# A global, because imported macros do not get the context.
_GLOBALS: dict[str, Any] = {
    "words": words,
    "suspicion": suspicion,
    "addresses": addresses,
    "translated": translated,
}
blueprint.record_once(lambda state: state.app.jinja_env.globals.update(_GLOBALS))


@dataclass(frozen=True)
class Frame:
    """The header, banner and footer of one page."""

    user: User | None = None
    spec: ModelSpec | None = None
    model_problem: ModelUnavailable | None = None


@blueprint.app_context_processor
def _variables() -> dict[str, Any]:
    user: User | None = g.get("user")
    if user is None:
        return {"frame": Frame()}
    return {"frame": _frame(user)}


def _frame(user: User) -> Frame:
    settings = services().settings
    try:
        with services().database.read() as db:
            name = default_model(db, settings.model)
            spec = find_spec(settings.models_dir, name)
            spec = None if spec is None else spec_in_force(db, spec)
    except SQLAlchemyError as error:  # the error page for an unavailable database has a frame, too
        log.warning("Which model screens is not known: %s", str(error).splitlines()[0])
        return Frame(user)
    return Frame(user, spec, find_problem(settings.models_dir, name))
