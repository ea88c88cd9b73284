"""Queue of scores that a reader asked for although the gate had refused the image.

They are kept apart from predictions, so that no list, sort order, export or later job treats one as a prediction; the
screening stays REJECTED. Rows are the truth here, too: only the lease's holder may write; lost work is retried.
"""

import uuid
from dataclasses import dataclass
from typing import ClassVar, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared.db import insert_new, new_id, now
from shared.errors import ImageRejected
from shared.models.spec import ModelPrediction, ModelSpec
from shared.queue import score_leases
from shared.queue.score_leases import HeldScore, ScoreTable
from shared.refusals import OF_THE_GATE, Failure
from shared.states import State
from shared.tables import AskedScore, Image, Job, Screening

_CODES: Final = frozenset(code.value for code in OF_THE_GATE)


@dataclass(frozen=True)
class AskedImage(HeldScore):
    """An image that the gate refused and whose score a worker is to compute."""

    table: ClassVar[ScoreTable] = AskedScore
    screening_id: uuid.UUID
    refusal: ImageRejected
    """Why the gate refused it."""


def can_be_asked(screening: Screening) -> bool:
    """Tell whether the gate, and nothing else, refused this image."""
    return screening.state is State.REJECTED and screening.error_code in _CODES and screening.image_id is not None


def ask(session: Session, screening: Screening, user_id: uuid.UUID) -> str | None:
    """Ask for the score of an image that `can_be_asked`; return the model that will compute it, None where it exists.

    Asking again while a worker is at it changes nothing; after a failure it starts over.
    """
    model_name = session.scalars(select(Job.model_name).where(Job.id == screening.job_id)).one()
    asked = session.scalar(select(AskedScore).where(AskedScore.screening_id == screening.id))
    if asked is not None and asked.label is not None:
        return None
    if asked is not None and asked.finished_at is None:
        return model_name
    if asked is not None:
        session.delete(asked)
        session.flush()
    row = {
        "id": new_id(),
        "screening_id": screening.id,
        "model_name": model_name,
        "asked_by_id": user_id,
        "asked_at": now(),
        "stopped_by": str(screening.error_code),
        "attempts": 0,
    }
    # Two readers may ask at the same time; the second one finds the first one's row.
    insert_new(session, AskedScore, [row])
    return model_name


def count_waiting(session: Session) -> dict[str, int]:
    """Count the scores asked for and not yet computed, by model."""
    waiting = select(AskedScore.model_name, func.count()).where(AskedScore.finished_at.is_(None))
    return {model: int(images) for model, images in session.execute(waiting.group_by(AskedScore.model_name))}


def claim(session: Session, model_name: str, *, lease_seconds: float, max_attempts: int) -> AskedImage | None:
    """Claim the oldest score asked for that no worker holds; None where there is none.

    A request whose worker was lost `max_attempts` times ends without a score.
    """
    free = (AskedScore.model_name == model_name, *score_leases.is_free(AskedScore))
    lost = update(AskedScore).where(*free, AskedScore.attempts >= max_attempts)
    details = {"attempts": max_attempts}
    session.execute(lost.values(finished_at=now(), error_code=Failure.WORKER_LOST.value, error_details=details))
    first = select(AskedScore).where(*free).order_by(AskedScore.asked_at).limit(1)
    asked = session.scalar(first.with_for_update(skip_locked=True, of=AskedScore))
    if asked is None:
        return None
    image_id, sha256, refused_with = session.execute(
        select(Image.id, Image.sha256, Screening.error_details)
        .join(Screening)
        .where(Screening.id == asked.screening_id)
    ).one()
    refusal = ImageRejected.stored(asked.stopped_by, refused_with)
    attempt = score_leases.take(asked, lease_seconds)
    return AskedImage(asked.id, attempt, image_id, sha256, asked.screening_id, refusal)


def settle(
    session: Session,
    held: AskedImage,
    spec: ModelSpec,
    prediction: ModelPrediction | None,
    refusal: ImageRejected | None = None,
) -> bool:
    """Write the outcome of a claimed score, a prediction or the reason for none; False where the lease is lost."""
    values = {
        "model": spec.version,
        "threshold": spec.threshold,
        "label": prediction.label if prediction else None,
        "p_pneumonia": prediction.p_pneumonia if prediction else None,
        "error_code": refusal.code.value if refusal else None,
        "error_details": (refusal.details or None) if refusal else None,
    }
    return score_leases.settle(session, held, values)
