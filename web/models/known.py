"""The known models: those in the models folder, and those that have screened here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flask import abort
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.activations.in_force import (
    ThresholdHistory,
    default_model,
    shadow_model,
    spec_in_force,
    threshold_history,
)
from shared.errors import ModelUnavailable
from shared.models.folder import WEIGHTS_FILE, model_folders, read_named
from shared.models.metrics import read_metrics
from shared.models.spec import ModelSpec
from shared.queue.heartbeats import Heartbeat
from shared.tables import Model
from web.base.services import services
from web.languages.text import _
from web.models.figures import HeldOut, find_worst, held_out, is_recalibrated
from web.watch.status import watch


@dataclass(frozen=True)
class Known:
    """One model by its name."""

    name: str
    spec: ModelSpec | None
    """With the threshold in force; None where its folder is missing or damaged."""
    own: ModelSpec | None
    """As in its folder."""
    history: ThresholdHistory | None
    """The thresholds chosen instead of the folder's."""
    problem: ModelUnavailable | None
    sets: Sequence[HeldOut]
    has_weights: bool
    used: Sequence[Model]
    """Its weights and calibrations that have screened here, newest first."""
    is_default: bool = False
    """New jobs get it unless they name another."""
    is_shadow: bool = False
    """It answers beside the default model, for comparison."""
    workers: int | None = None
    """How many serve it now; None where that is unknown."""

    @property
    def is_recalibrated(self) -> bool:
        """Tell whether its held-out figures are of an earlier calibration."""
        return self.spec is not None and is_recalibrated(self.spec)

    @property
    def worst(self) -> HeldOut | None:
        """Return the held-out images on which its threshold does worst, as the ones to go by."""
        return find_worst(self.sets, self.spec.threshold) if self.spec else None


def known_models() -> list[Known]:
    """Return every model known to the current application."""
    settings = services().settings
    workers = watch().status().workers
    with services().database.read() as db:
        return list_known(db, settings.models_dir, default_model(db, settings.model), workers)


def find_model(name: str) -> Known:
    """Return the model of this name; answer 404 where there is none."""
    model = next((known for known in known_models() if known.name == name), None)
    if model is None:
        abort(404, _("There is no model '%(name)s'.", name=name))
    return model


def list_known(db: Session, models_dir: Path, default: str, workers: Sequence[Heartbeat] | None) -> list[Known]:
    """Return every model: the default, then those of the folder by name, then those known only from the database."""
    used: dict[str, list[Model]] = {}
    for model in db.scalars(select(Model).order_by(Model.created_at.desc())):
        used.setdefault(model.name, []).append(model)
    here = [folder.name for folder in model_folders(models_dir)]
    shadow = shadow_model(db)
    found = [_find(db, models_dir, name, used.get(name, [])) for name in dict.fromkeys((default, *here, *sorted(used)))]
    return [
        replace(
            known,
            is_default=known.name == default,
            is_shadow=shadow is not None and shadow.model_name == known.name,
            workers=None if workers is None else sum(beat.model_name == known.name for beat in workers),
        )
        for known in found
    ]


def _find(db: Session, models_dir: Path, name: str, used: Sequence[Model]) -> Known:
    own, spec, history, problem = None, None, None, None
    try:
        own = read_named(models_dir, name)
        spec, history = spec_in_force(db, own), threshold_history(db, own)
    except ModelUnavailable as error:
        problem = error
    return Known(
        name=name,
        spec=spec,
        own=own,
        history=history,
        problem=problem,
        sets=held_out(read_metrics(models_dir / name), spec) if spec else [],
        has_weights=spec is not None and (bool(spec.members) or (models_dir / name / WEIGHTS_FILE).is_file()),
        used=used,
    )
