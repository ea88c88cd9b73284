"""Which models a job may choose: those in the models folder, and those that workers say they serve."""

import re
from dataclasses import dataclass
from typing import Final

from shared.errors import ModelUnavailable
from shared.models.folder import WEIGHTS_FILE, model_folders, read_spec
from shared.models.spec import NAME_PATTERN, ModelSpec
from web.base.problems import InvalidRequest
from web.base.services import parts
from web.watch.status import watch

FIELD: Final = "model"
_SHOWN: Final = 64
"""Characters of a name that was not understood, as it is told back."""


@dataclass(frozen=True)
class ModelChoice:
    """A model that a job may name."""

    name: str
    spec: ModelSpec | None
    """None where only a worker has its folder, or nobody has."""
    is_served: bool | None
    """Whether a worker has it loaded; None where Redis does not answer."""
    is_default: bool


def choices() -> list[ModelChoice]:
    """List the models that a job may choose, the one of the settings first."""
    default = parts().settings.model
    workers = watch().workers()
    served = {heard.model_name for heard in workers or () if re.fullmatch(NAME_PATTERN, heard.model_name)}
    specs = _specs_with_weights()
    names = [default, *sorted((specs.keys() | served) - {default})]
    return [
        ModelChoice(name, specs.get(name), None if workers is None else name in served, name == default)
        for name in names
    ]


def read_model(value: object) -> str:
    """Return the model that a sender names, or that of the settings; raise InvalidRequest where there is no such."""
    default = parts().settings.model
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise InvalidRequest(FIELD, f"Give the name of a model. Received: {str(value)[:_SHOWN]!r}.")
    if value == default:
        return default
    names = [choice.name for choice in choices()]
    if value not in names:
        raise InvalidRequest(
            FIELD,
            f"There is no model '{value[:_SHOWN]}' here. Choose {' or '.join(names)}; without one, {default} screens.",
        )
    return value


def _specs_with_weights() -> dict[str, ModelSpec]:
    """Read the specs of the folders that hold a model whole, as far as can be told without reading its weights."""
    folder = parts().settings.models_dir
    found: dict[str, ModelSpec] = {}
    for place in model_folders(folder):
        try:
            spec = read_spec(place)
        except ModelUnavailable:
            continue
        parts_of_it = [folder / member.name for member in spec.members] or [place]
        if spec.name == place.name and all((part / WEIGHTS_FILE).is_file() for part in parts_of_it):
            found[spec.name] = spec
    return found
