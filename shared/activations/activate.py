"""Put thresholds and models in force, with an audit row, in the caller's transaction."""

import math
import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.activations.in_force import default_model, shadow_model, spec_in_force, threshold_history
from shared.audit.record import Action, record
from shared.errors import ActivationRefused
from shared.models.calibrations import choose_threshold
from shared.models.spec import ModelSpec
from shared.tables import Activation, ActivationKind


@dataclass(frozen=True)
class Actor:
    """Who makes an activation."""

    name: str
    """Name of the account, or `os:` and the operating system's user."""
    user_id: uuid.UUID | None = None
    address: str | None = None


def put_threshold(
    session: Session, actor: Actor, spec: ModelSpec, threshold: float, shown: float | None = None
) -> ModelSpec:
    """Put a model's threshold, 0 to 1, in force and return the spec in force; `spec` is that of its folder.

    Raises ActivationRefused where it is already in force or invalid, or where the one `shown` as in force no longer is.
    """
    present = spec_in_force(session, spec).threshold
    if shown is not None and not _is_same(shown, present):
        raise ActivationRefused(
            "The threshold was changed in the meantime: it is now %(present)s, not %(shown)s. Look at it first.",
            present=f"{present:g}",
            shown=f"{shown:g}",
        )
    if _is_same(threshold, present):
        raise ActivationRefused(
            "The threshold %(number)s is in force already. Nothing was changed.", number=f"{threshold:g}"
        )
    if not 0 < threshold < 1:  # NaN included
        raise ActivationRefused(
            "A threshold lies between 0 and 1. Received: %(number)s. Nothing was changed.", number=f"{threshold:g}"
        )
    is_own = _is_same(threshold, spec.threshold)
    row = _add(session, actor, ActivationKind.THRESHOLD, spec.name)
    row.calibration, row.threshold = spec.identity, None if is_own else threshold
    fresh = spec if is_own else choose_threshold(spec, threshold, row.created_at)
    detail = {"model": fresh.version, "threshold": f"{threshold:g}", "before": f"{present:g}"}
    _record(session, actor, Action.THRESHOLD_CHANGED, detail)
    return fresh


def put_back_threshold(session: Session, actor: Actor, spec: ModelSpec) -> ModelSpec:
    """Put the previous threshold back in force; raise ActivationRefused where there is none."""
    before = threshold_history(session, spec).before
    if before is None:
        raise ActivationRefused("No threshold was set for '%(name)s', so there is none to restore.", name=spec.name)
    return put_threshold(session, actor, spec, before)


def put_default_model(session: Session, actor: Actor, name: str, of_settings: str, shown: str | None = None) -> str:
    """Change the default model of new jobs, and return the previous one.

    Raises ActivationRefused where it is already the default, or where the one `shown` as default no longer is.
    """
    before = default_model(session, of_settings)
    if shown is not None and shown != before:
        raise ActivationRefused(
            "The model of new jobs was changed in the meantime: it is now '%(present)s', not '%(shown)s'. Look at it "
            "first.",
            present=before,
            shown=shown[:64],
        )
    if name == before:
        raise ActivationRefused("New jobs already use '%(name)s'. Nothing was changed.", name=name)
    shadow = shadow_model(session)
    if shadow is not None and shadow.model_name == name:  # it cannot be compared with itself
        put_shadow_model(session, actor, None, of_settings)
    _add(session, actor, ActivationKind.DEFAULT_MODEL, name)
    _record(session, actor, Action.MODEL_ACTIVATED, {"model": name, "before": before})
    return before


def put_shadow_model(session: Session, actor: Actor, name: str | None, of_settings: str) -> None:
    """Run a shadow model besides the default one, to compare both; None ends that.

    Raises ActivationRefused where that is already so, and for the default model itself.
    """
    present = shadow_model(session)
    before = present.model_name if present is not None else None
    if name == before:
        if name is None:
            raise ActivationRefused("There is no shadow model to end.")
        raise ActivationRefused("'%(name)s' is the shadow model already.", name=name)
    if name is not None and name == default_model(session, of_settings):
        raise ActivationRefused(
            "'%(name)s' is the model that new jobs use. It cannot be its own shadow model.", name=name
        )
    _add(session, actor, ActivationKind.SHADOW_MODEL, name)
    _record(session, actor, Action.SHADOW_CHANGED, {"model": name or "none", "before": before or "none"})


def _is_same(one: float, other: float) -> bool:
    """Tell whether two thresholds are equal; forms transmit six decimals."""
    return math.isclose(one, other, abs_tol=5e-7, rel_tol=0)


def _add(session: Session, actor: Actor, kind: ActivationKind, model_name: str | None) -> Activation:
    newest = session.scalar(select(func.max(Activation.number))) or 0
    row = Activation(number=newest + 1, kind=kind, model_name=model_name, actor=actor.name)
    session.add(row)
    session.flush()
    return row


def _record(session: Session, actor: Actor, action: Action, detail: dict[str, str]) -> None:
    # An account's name is looked up.
    name = actor.name if actor.user_id is None else None
    record(session, action, user_id=actor.user_id, actor=name, address=actor.address, detail=detail)
