"""The models that are known here: those of the models folder, and those that have screened here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import ModelUnavailable
from shared.models.folder import WEIGHTS_FILE, model_folders, read_named
from shared.models.metrics import read_metrics
from shared.models.spec import ModelSpec
from shared.queue.heartbeats import Heartbeat
from shared.tables import Model
from web.models.figures import HeldOut, held_out


@dataclass(frozen=True)
class Known:
    """One model by its name."""

    name: str
    spec: ModelSpec | None
    """None where its folder is gone or damaged."""
    problem: str | None
    sets: Sequence[HeldOut]
    has_weights: bool
    is_default: bool
    """New jobs get it unless they name another."""
    workers: int | None
    """How many serve it now; None where that is not known."""
    used: Sequence[Model]
    """Its weights and calibrations that have screened here, the newest first."""


def list_known(db: Session, models_dir: Path, default: str, workers: Sequence[Heartbeat] | None) -> list[Known]:
    """Return every model, the default first, then those of the folder by name, then those that are only remembered."""
    used: dict[str, list[Model]] = {}
    for model in db.scalars(select(Model).order_by(Model.created_at.desc())):
        used.setdefault(model.name, []).append(model)
    here = [folder.name for folder in model_folders(models_dir)]
    names = dict.fromkeys((default, *here, *sorted(used)))
    return [_find(models_dir, name, default, workers, used.get(name, [])) for name in names]


def _find(
    models_dir: Path, name: str, default: str, workers: Sequence[Heartbeat] | None, used: Sequence[Model]
) -> Known:
    spec, problem = None, None
    try:
        spec = read_named(models_dir, name)
    except ModelUnavailable as error:
        problem = str(error)
    return Known(
        name=name,
        spec=spec,
        problem=problem,
        sets=held_out(read_metrics(models_dir / name), spec.threshold) if spec else [],
        has_weights=spec is not None and (bool(spec.members) or (models_dir / name / WEIGHTS_FILE).is_file()),
        is_default=name == default,
        workers=None if workers is None else sum(beat.model_name == name for beat in workers),
        used=used,
    )
