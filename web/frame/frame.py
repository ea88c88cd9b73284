"""What stands around every page: who is signed in, which model screens, and the words that templates use."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g

from shared.models.folder import find_problem, find_spec
from shared.models.spec import ModelSpec
from shared.tables import User
from web.base import numbers, suspicion
from web.base.services import services
from web.frame import words

blueprint = Blueprint("frame", __name__)
numbers.register(blueprint)
# A global, because imported macros see no context.
blueprint.record_once(lambda state: state.app.jinja_env.globals.update(words=words, suspicion=suspicion))


@dataclass(frozen=True)
class Frame:
    """The header, banner and footer of one page."""

    user: User | None = None
    spec: ModelSpec | None = None
    model_problem: str | None = None


@blueprint.app_context_processor
def _variables() -> dict[str, Any]:
    user: User | None = g.get("user")
    if user is None:
        return {"frame": Frame()}
    settings = services().settings
    models, name = settings.models_dir, settings.model
    return {"frame": Frame(user, find_spec(models, name), find_problem(models, name))}
