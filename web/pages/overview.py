"""What a job's page says beside its progress: labels, what can be retried, and why nothing moves."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.errors import BrokerAway
from shared.modelspec import Label
from shared.presence import Presence
from shared.states import Event, State, sources
from shared.tables import Job, Prediction, Screening, in_states
from web.parts import parts
from web.progress import FINISHED, RECEIVING, Progress, model_problem

# A worker that is free takes a film within a second; ten without one is worth a word.
PATIENCE: Final = timedelta(seconds=10)
UPLOAD_PATIENCE: Final = timedelta(minutes=2)


def of_job(db: Session, job: Job, progress: Progress) -> dict[str, Any]:
    """Return what the job templates show of a job beside its progress and its films."""
    labels = _label_counts(db, job)
    moved_at = _last_move(db, job) or job.created_at
    return {
        "labels": labels,
        "not_screened": progress.settled - sum(labels.values()),
        "retryable": _count_retryable(db, job) if progress.state == FINISHED else 0,
        "waiting": _why_waiting(db, job, progress, moved_at),
        "lease_seconds": parts().settings.lease_seconds,
        "stalled": progress.state == RECEIVING and now() - moved_at > UPLOAD_PATIENCE,
        "finished_at": moved_at if progress.state == FINISHED and progress.total else None,
    }


def _label_counts(db: Session, job: Job) -> dict[Label, int]:
    query = (
        select(Prediction.label, func.count())
        .join(Screening, Screening.prediction_id == Prediction.id)
        .where(Screening.job_id == job.id, Screening.state == State.DONE)
        .group_by(Prediction.label)
    )
    counts = dict.fromkeys(Label, 0)
    for label, films in db.execute(query):
        counts[label] = films
    return counts


def _last_move(db: Session, job: Job) -> datetime | None:
    """Return when anything last happened to a film of this job."""
    times = (Screening.created_at, Screening.started_at, Screening.finished_at)
    newest = db.execute(select(*[func.max(time) for time in times]).where(Screening.job_id == job.id)).one()
    return max((time for time in newest if time is not None), default=None)


def _count_retryable(db: Session, job: Job) -> int:
    """Count what Retry would queue again: a file refused at intake was never stored and has to be sent again."""
    query = select(func.count()).where(
        Screening.job_id == job.id, in_states(sources(Event.RETRY)), Screening.image_id.is_not(None)
    )
    return db.scalar(query) or 0


def _why_waiting(db: Session, job: Job, progress: Progress, moved_at: datetime) -> str | None:
    """Say why nothing moves; None where something does, or where it is too early to tell.

    `silent`: the worker that holds films of this job has stopped; `turn`: other films are before these; `none`: no
    worker runs; `worker`: none of these is known.
    """
    # Workers renew what they hold several times a lease (`shared.leases.extend`); whoever is late has stopped.
    lease = timedelta(seconds=parts().settings.lease_seconds)
    due = now() + lease - min(PATIENCE, lease / 2)
    if progress.counts[State.RUNNING]:
        is_silent = _holds(db, Screening.job_id == job.id, Screening.lease_until < due)
        return _who_is_missing("silent") if is_silent else None
    if not progress.counts[State.QUEUED] or now() - moved_at <= PATIENCE:
        return None
    return "turn" if _holds(db, Screening.lease_until >= due) else _who_is_missing("worker")


def _holds(db: Session, *which: ColumnElement[bool]) -> bool:
    query = select(Screening.id).where(in_states([State.RUNNING]), *which)
    return db.scalar(query.limit(1)) is not None


def _who_is_missing(otherwise: str) -> str:
    """Say `none` where no worker runs at all; without a model none is ready, and the banner says why."""
    settings = parts().settings
    if model_problem(settings) is not None:
        return otherwise
    presence = Presence(settings)
    try:
        return otherwise if presence.workers() else "none"
    except BrokerAway:  # nobody knows, so nothing is claimed
        return otherwise
    finally:
        presence.close()
