"""What is in force: the default model, a model's threshold, and the shadow model, as the newest rows say.

Where no row says anything it is what the settings and the model's folder say.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from shared.models.calibrations import choose_threshold
from shared.models.spec import ModelSpec
from shared.tables import Activation, ActivationKind

MOST_SHOWN: Final = 1000
"""Thresholds of one calibration that are looked back at; people choose them by hand."""


@dataclass(frozen=True)
class ThresholdHistory:
    """The thresholds of one calibration of a model."""

    own: float
    """The one that the folder brings."""
    rows: tuple[Activation, ...]
    """Oldest first."""

    @property
    def in_force(self) -> float:
        """Return the one that labels now."""
        return self._values[-1]

    @property
    def before(self) -> float | None:
        """Return the one that is put back by going a step back; None where nothing was chosen, or all was put back."""
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
    """Name the model that new jobs get unless they name another."""
    chosen = _newest(session, ActivationKind.DEFAULT_MODEL)
    return chosen.model_name if chosen is not None and chosen.model_name is not None else of_settings


def shadow_model(session: Session) -> Activation | None:
    """Return the choice of the model that answers beside the default one, to be compared; None where there is none."""
    chosen = _newest(session, ActivationKind.SHADOW_MODEL)
    return None if chosen is None or chosen.model_name is None else chosen


def spec_in_force(session: Session, spec: ModelSpec) -> ModelSpec:
    """Return the spec of a model's folder with the threshold that was chosen for this calibration, if one was."""
    newest = session.scalar(_thresholds(spec).order_by(Activation.number.desc()).limit(1))
    if newest is None or newest.threshold is None:
        return spec
    return choose_threshold(spec, newest.threshold, newest.created_at)


def threshold_history(session: Session, spec: ModelSpec) -> ThresholdHistory:
    """Return the thresholds of this calibration of a model; `spec` is that of its folder."""
    newest = session.scalars(_thresholds(spec).order_by(Activation.number.desc()).limit(MOST_SHOWN)).all()
    return ThresholdHistory(spec.threshold, tuple(reversed(newest)))


def ever_activated(session: Session) -> set[str]:
    """Name the models that were ever the default or a shadow by somebody's choice."""
    kinds = (ActivationKind.DEFAULT_MODEL, ActivationKind.SHADOW_MODEL)
    return {name for name in session.scalars(_of(*kinds).with_only_columns(Activation.model_name).distinct()) if name}


def _newest(session: Session, kind: ActivationKind) -> Activation | None:
    return session.scalar(_of(kind).order_by(Activation.number.desc()).limit(1))


def _of(*kinds: ActivationKind) -> Select[Activation]:
    return select(Activation).where(Activation.kind.in_(kinds))


def _thresholds(spec: ModelSpec) -> Select[Activation]:
    return _of(ActivationKind.THRESHOLD).where(
        Activation.model_name == spec.name, Activation.calibration == spec.identity
    )
