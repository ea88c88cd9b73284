"""Queue of scores of a shadow model, for images that the default model has predicted, to compare both.

They are kept apart from predictions, and no list, export, webhook or later job reads them. The sweep queues images for
comparison after they were predicted, so that no screening waits for it or fails because of it; rows are the truth here,
too, and only the holder of the lease may write. A score is claimed only while no image waits that a running worker
would claim.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.activations.in_force import default_model, shadow_model
from shared.db import first_id, insert_new, new_id, now, time_of
from shared.errors import ImageRejected
from shared.models.spec import ModelPrediction, ModelSpec
from shared.queue import score_leases
from shared.queue.score_leases import HeldScore, ScoreTable
from shared.refusals import Failure
from shared.states import State
from shared.tables import Image, Job, Model, Prediction, Screening, ShadowScore, in_states

MOST_NOTED: Final = 2000
"""The most images queued by one sweep; the rest follows with the next."""
LOOK_BACK: Final = timedelta(minutes=5)
"""The longest time from making a prediction's id to its commit, clock differences included; a later one is not
compared."""


@dataclass(frozen=True)
class ShadowImage(HeldScore):
    """An image that the shadow model is to predict."""

    table: ClassVar[ScoreTable] = ShadowScore


def find_unnoted(session: Session, of_settings: str, most: int = MOST_NOTED) -> list[uuid.UUID]:
    """Return the default model's predictions that are not yet queued for comparison, oldest first."""
    shadow = shadow_model(session)
    default = default_model(session, of_settings)
    if shadow is None or shadow.model_name == default:
        return []
    since = first_id(shadow.created_at)
    newest = select(ShadowScore.prediction_id).where(ShadowScore.model_name == shadow.model_name)
    last = session.scalar(newest.order_by(ShadowScore.prediction_id.desc()).limit(1))
    if last is not None:
        since = max(since, first_id(time_of(last) - LOOK_BACK))
    noted = newest.where(ShadowScore.prediction_id == Prediction.id).exists()
    answers = select(Prediction.id).join(Model).where(Prediction.id >= since, Model.name == default, ~noted)
    return list(session.scalars(answers.order_by(Prediction.id).limit(most)))


def note(session: Session, predictions: Sequence[uuid.UUID]) -> int:
    """Queue the images of these predictions for the shadow model; return how many were new."""
    shadow = shadow_model(session)
    if shadow is None:
        return 0
    # Those that a purge removed meanwhile are gone; locks keep the others until this commits.
    held = select(Prediction.id).where(Prediction.id.in_(predictions)).with_for_update(read=True, key_share=True)
    rows = [
        {"id": new_id(), "prediction_id": key, "model_name": shadow.model_name, "attempts": 0}
        for key in session.scalars(held)
    ]
    return insert_new(session, ShadowScore, rows)


def find_waiting(session: Session) -> str | None:
    """Return the shadow model's name where it has an image waiting."""
    shadow = shadow_model(session)
    if shadow is None:
        return None
    unfinished = (ShadowScore.model_name == shadow.model_name, ShadowScore.finished_at.is_(None))
    waiting = select(ShadowScore.id).where(*unfinished).limit(1)
    return None if session.scalar(waiting) is None else shadow.model_name


def has_work(session: Session, served: Collection[str] | None) -> bool:
    """Tell whether an image waits to be screened by one of the models that are `served`.

    Where they are unknown, None, an image waiting for any model counts.
    """
    if session.scalar(select(Screening.id).where(in_states([State.QUEUED])).limit(1)) is None:
        return False
    if served is None:
        return True
    # By unfinished jobs, because 100,000 images may wait for a model that no worker serves.
    waits = select(Screening.id).where(Screening.job_id == Job.id, in_states([State.QUEUED])).exists()
    work = select(Job.id).where(Job.is_watched, Job.model_name.in_(sorted(served)), waits)
    return session.scalar(work.limit(1)) is not None


def claim(
    session: Session, model_name: str, *, lease_seconds: float, max_attempts: int, served: Collection[str] | None
) -> ShadowImage | None:
    """Claim the shadow model's oldest waiting image; None where there is none, or where screenings wait.

    `served` are the models as in `has_work`. An image whose worker was lost `max_attempts` times ends without a score.
    """
    if find_waiting(session) != model_name or has_work(session, served):
        return None
    free = (ShadowScore.model_name == model_name, *score_leases.is_free(ShadowScore))
    lost = update(ShadowScore).where(*free, ShadowScore.attempts >= max_attempts)
    session.execute(lost.values(finished_at=now(), error_code=Failure.WORKER_LOST.value))
    first = select(ShadowScore).where(*free).order_by(ShadowScore.id).limit(1)
    score = session.scalar(first.with_for_update(skip_locked=True, of=ShadowScore))
    if score is None:
        return None
    image = select(Image.id, Image.sha256).join(Prediction, Prediction.image_id == Image.id)
    image_id, sha256 = session.execute(image.where(Prediction.id == score.prediction_id)).one()
    return ShadowImage(score.id, score_leases.take(score, lease_seconds), image_id, sha256)


def settle(
    session: Session,
    held: ShadowImage,
    spec: ModelSpec,
    prediction: ModelPrediction | None,
    refusal: ImageRejected | None = None,
) -> bool:
    """Write the outcome of a claimed score, a prediction or the reason for none; False where the lease is lost."""
    values = {
        "model_version": spec.identity,
        "threshold": spec.threshold,
        "label": prediction.label if prediction else None,
        "p_pneumonia": prediction.p_pneumonia if prediction else None,
        "error_code": refusal.code.value if refusal else None,
    }
    return score_leases.settle(session, held, values)
