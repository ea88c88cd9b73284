"""An administrator's changes to models, by page or API: threshold, default model and shadow model."""

from flask import g, request

from shared.activations.activate import (
    Actor,
    put_back_threshold,
    put_default_model,
    put_shadow_model,
    put_threshold,
)
from shared.errors import ActivationRefused
from shared.models.folder import find_problem
from shared.models.spec import ModelSpec
from web.base.services import services
from web.models.known import Known, find_model


def change_threshold(name: str, threshold: float, shown: float | None) -> ModelSpec:
    """Put a threshold, 0 to 1, in force if `shown` is still in force; else raise ActivationRefused."""
    own = _spec(find_model(name))
    with services().database.write() as db:
        return put_threshold(db, _actor(), own, threshold, shown)


def put_threshold_back(name: str) -> ModelSpec:
    """Restore the previous threshold; raise ActivationRefused where there is none."""
    own = _spec(find_model(name))
    with services().database.write() as db:
        return put_back_threshold(db, _actor(), own)


def change_default(name: str, shown: str | None = None) -> str:
    """Make another model the default of new jobs, if `shown` still is, and return it; else raise ActivationRefused."""
    refuse_unusable(find_model(name))
    with services().database.write() as db:
        return put_default_model(db, _actor(), name, services().settings.model, shown)


def change_shadow(name: str | None) -> None:
    """Make a model the shadow model; None ends that. Raises ActivationRefused."""
    if name is not None:
        refuse_unusable(find_model(name))
    with services().database.write() as db:
        put_shadow_model(db, _actor(), name, services().settings.model)


def refuse_unusable(model: Known) -> None:
    """Raise ActivationRefused where the files of a model are missing or damaged."""
    problem = find_problem(services().settings.models_dir, model.name)
    if problem is not None:
        raise ActivationRefused("It cannot be used. %(problem)s", problem=problem)


def _spec(model: Known) -> ModelSpec:
    if model.own is None:
        raise ActivationRefused("It has no threshold. %(problem)s", problem=model.problem)
    return model.own


def _actor() -> Actor:
    return Actor(g.user.name, g.user.id, request.remote_addr)
