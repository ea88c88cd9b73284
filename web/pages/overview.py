"""What a job's page says beside its progress: labels, what can be retried, and why nothing moves."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.modelspec import Label
from shared.states import Event, State, sources
from shared.tables import Job, Prediction, Screening, in_states
from web.progress import FINISHED, RECEIVING, Progress

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
        "waiting": _why_waiting(db, progress, moved_at),
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


def _why_waiting(db: Session, progress: Progress, moved_at: datetime) -> str | None:
    """Say `worker` where nothing screens anywhere, `turn` where other films are before these."""
    if not progress.counts[State.QUEUED] or progress.counts[State.RUNNING] or now() - moved_at <= PATIENCE:
        return None
    running = db.scalar(select(Screening.id).where(in_states([State.RUNNING])).limit(1))
    return "turn" if running else "worker"
