"""Find what is in force: the default model, a model's threshold, and the shadow model, from the newest rows.

Without a row the settings and the model's folder apply.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from shared.models.calibrations import choose_threshold
from shared.models.spec import ModelSpec
from shared.tables import Activation, ActivationKind

MOST_SHOWN: Final = 1000
"""The most thresholds of one calibration that are read; people choose them by hand."""
# Built once: workers need it with each claim, and building a statement takes longer than running it.
_NEWEST: Final = (
    select(Activation.model_name, Activation.created_at)
    .where(Activation.kind == bindparam("kind", type_=Activation.kind.type))
    .order_by(Activation.number.desc())
    .limit(1)
)
_THRESHOLDS: Final = (
    select(Activation)
    .where(
        Activation.kind == ActivationKind.THRESHOLD,
        Activation.model_name == bindparam("model_name"),
        Activation.calibration == bindparam("calibration"),
    )
    .order_by(Activation.number.desc())
)
_THRESHOLD: Final = _THRESHOLDS.with_only_columns(Activation.threshold, Activation.created_at).limit(1)


class Chosen(NamedTuple):
    """A model chosen by an administrator, and when."""

    model_name: str
    created_at: datetime


@dataclass(frozen=True)
class ThresholdHistory:
    """The thresholds of one calibration of a model."""

    own: float
    """The one of the folder."""
    rows: tuple[Activation, ...]
    """Oldest first."""

    @property
    def in_force(self) -> float:
        """Return the threshold in force."""
        return self._values[-1]

    @property
    def before(self) -> float | None:
        """Return the previous threshold; None where none was chosen, or all were reverted."""
        steps: list[float] = []
        for value in self._values:
            if len(steps) > 1 and steps[-2] == value:
                steps.pop()
            else:
                steps.append(value)
        return steps[-2] if len(steps) > 1 else None

    @property
    def _values(self) -> list[float]:
        return [self.own, *(self.own if row.threshold is None else row.threshold for row in self.rows)]


def default_model(session: Session, of_settings: str) -> str:
    """Return the name of the default model of new jobs."""
    chosen = _newest(session, ActivationKind.DEFAULT_MODEL)
    return of_settings if chosen is None else chosen.model_name


def shadow_model(session: Session) -> Chosen | None:
    """Return the shadow model and when it was chosen; None where there is none."""
    return _newest(session, ActivationKind.SHADOW_MODEL)


def spec_in_force(session: Session, spec: ModelSpec) -> ModelSpec:
    """Return a folder's spec with the threshold chosen for its calibration, if any."""
    newest = session.execute(_THRESHOLD, _of(spec)).one_or_none()
    if newest is None or newest.threshold is None:
        return spec
    return choose_threshold(spec, newest.threshold, newest.created_at)


def threshold_history(session: Session, spec: ModelSpec) -> ThresholdHistory:
    """Return the thresholds of a model's present calibration; `spec` is that of its folder."""
    newest = session.scalars(_THRESHOLDS.limit(MOST_SHOWN), _of(spec)).all()
    return ThresholdHistory(spec.threshold, tuple(reversed(newest)))


def ever_activated(session: Session) -> set[str]:
    """Return the names of models that were ever chosen as default or shadow."""
    kinds = (ActivationKind.DEFAULT_MODEL, ActivationKind.SHADOW_MODEL)
    names = session.scalars(select(Activation.model_name).where(Activation.kind.in_(kinds)).distinct())
    return {name for name in names if name is not None}


def _newest(session: Session, kind: ActivationKind) -> Chosen | None:
    newest = session.execute(_NEWEST, {"kind": kind}).one_or_none()
    return None if newest is None or newest.model_name is None else Chosen(newest.model_name, newest.created_at)


def _of(spec: ModelSpec) -> dict[str, Any]:
    return {"model_name": spec.name, "calibration": spec.identity}
