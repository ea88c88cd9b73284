"""List the models that a job may choose: those in the models folder, and those in workers' heartbeats."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.activations.in_force import default_model
from shared.errors import ModelUnavailable, TranslatableError
from shared.models.folder import WEIGHTS_FILE, model_folders, read_spec
from shared.models.spec import NAME_PATTERN, ModelSpec
from shared.submission.services import Services

_SHOWN: Final = 64
"""The most characters of an unknown name repeated in the message."""


class UnknownModel(TranslatableError):
    """Say that a sender's model name is unknown, and which models there are."""


@dataclass(frozen=True)
class ModelChoice:
    """A model that a job may choose."""

    name: str
    spec: ModelSpec | None
    """None where its folder is not here, but only on a worker or nowhere."""
    is_served: bool | None
    """Whether a worker has it loaded; None where Redis does not answer."""
    is_default: bool


def model_choices(services: Services) -> list[ModelChoice]:
    """List the models that a job may choose, the default one first."""
    default = find_default(services)
    workers = services.capacity.workers()
    served = {heartbeat.model_name for heartbeat in workers or () if re.fullmatch(NAME_PATTERN, heartbeat.model_name)}
    specs = _specs_with_weights(services.settings.models_dir)
    names = [default, *sorted((specs.keys() | served) - {default})]
    return [
        ModelChoice(name, specs.get(name), None if workers is None else name in served, name == default)
        for name in names
    ]


def find_default(services: Services) -> str:
    """Return the name of the default model of new jobs."""
    with services.database.read() as session:
        return default_model(session, services.settings.model)


def check_model(services: Services, name: str) -> None:
    """Raise UnknownModel where no job may choose a model of this name."""
    default = find_default(services)
    if name == default:
        return
    names = [choice.name for choice in model_choices(services)]
    if name not in names:
        raise UnknownModel(
            "There is no model '%(name)s' here. Choose one of %(names)s; without one, %(default)s screens.",
            name=name[:_SHOWN],
            names=", ".join(names),
            default=default,
        )


def _specs_with_weights(models_dir: Path) -> dict[str, ModelSpec]:
    """Read the specs of folders with complete models, as far as can be told without reading the weights."""
    found: dict[str, ModelSpec] = {}
    for place in model_folders(models_dir):
        try:
            spec = read_spec(place)
        except ModelUnavailable:
            continue
        folders = [models_dir / member.name for member in spec.members] or [place]
        if spec.name == place.name and all((folder / WEIGHTS_FILE).is_file() for folder in folders):
            found[spec.name] = spec
    return found
