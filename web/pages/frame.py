"""What stands around every page: who is signed in, which model screens, and the words that templates use."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, g

from shared.models.spec import ModelSpec
from shared.tables import User
from web.pages import shown, words
from web.pages.standing import standing
from web.parts import parts
from web.progress import model_problem, model_spec

blueprint = Blueprint("frame", __name__)
shown.register(blueprint)
blueprint.add_app_template_filter(standing)
# A global, because imported macros see no context.
blueprint.record_once(lambda state: state.app.jinja_env.globals.update(words=words))


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
    settings = parts().settings
    return {"frame": Frame(user, model_spec(settings), model_problem(settings))}
