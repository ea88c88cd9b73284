"""Further content of a job's page: labels, what can be retried, and why there is no progress."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import g
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.models.spec import Label
from shared.queue.jobs import can_retry
from shared.states import State
from shared.tables import Job, Screening, in_states
from web.base.conditions import Check, Condition
from web.base.services import services
from web.jobs.progress import FINISHED, RECEIVING, Progress, count_hidden, label_counts
from web.watch.status import Status, watch

STALL_AFTER: Final = timedelta(seconds=10)
"""A free worker claims an image within a second, and a live one finishes some within ten."""
UPLOAD_STALL_AFTER: Final = timedelta(seconds=15)
"""A running request updates its job every few seconds (`web.uploads.receive`), a closed page does not."""


@dataclass(frozen=True)
class Overview:
    """The content of a job's page besides its progress and images."""

    labels: dict[Label, int]
    hidden: int
    """Results hidden from the viewer until their own review."""
    not_screened: int
    only_image: uuid.UUID | None
    """The only screening of a finished job, to be opened instead of a list of one row."""
    retryable: int
    waiting: str | None
    """Why there is no progress (`_why_waiting`)."""
    lease_seconds: float
    stalled: bool
    """The upload is open, and nothing has arrived for a while."""
    held_back: Condition | None
    """The condition that keeps its upload from continuing."""
    finished_at: datetime | None
    lasted: float | None
    """Seconds from its creation to its end; None where images were retried, maybe days later."""


def look_over(db: Session, job: Job, progress: Progress) -> Overview:
    """Gather the content of a job's page besides its progress and images."""
    labels = label_counts(db, job, g.user)
    arrived_at = _last_arrival(db, job)
    moves = [at for at in (progress.moved_at, arrived_at, job.retried_at) if at is not None]
    moved_at = max(moves, default=job.created_at)
    active_at = max(at for at in (arrived_at, job.sent_at, job.created_at) if at is not None)
    is_over = progress.state == FINISHED
    return Overview(
        labels=labels,
        hidden=count_hidden(progress, labels),
        not_screened=progress.settled - progress.counts[State.DONE],
        only_image=_only_image(db, job) if progress.total == 1 and is_over else None,
        retryable=_count_retryable(db, job) if is_over else 0,
        waiting=_why_waiting(db, job, progress, moved_at),
        lease_seconds=services().settings.lease_seconds,
        stalled=progress.state == RECEIVING and now() - active_at > UPLOAD_STALL_AFTER,
        held_back=_what_holds_uploads_back(watch().status()) if progress.state == RECEIVING else None,
        finished_at=moved_at if is_over and progress.total else None,
        lasted=(moved_at - job.created_at).total_seconds() if is_over and job.retried_at is None else None,
    )


def _what_holds_uploads_back(status: Status) -> Condition | None:
    return next((c for c in status.problems if c in {Condition.DISK_LOW, Condition.QUEUE_FULL}), None)


def _last_arrival(db: Session, job: Job) -> datetime | None:
    """Return when the last image of this job arrived."""
    images = select(Screening.created_at).where(Screening.job_id == job.id)
    return db.scalar(images.order_by(Screening.position.desc()).limit(1))


def _only_image(db: Session, job: Job) -> uuid.UUID | None:
    """Return the only screening of a job, to be opened instead of a list of one row."""
    return db.scalar(select(Screening.id).where(Screening.job_id == job.id).limit(1))


def _count_retryable(db: Session, job: Job) -> int:
    """Count the images that Retry would queue again."""
    return db.scalar(select(func.count()).where(*can_retry(job.id, services().settings.ignored_codes))) or 0


def _why_waiting(db: Session, job: Job, progress: Progress, moved_at: datetime) -> str | None:
    """Return why there is no progress; None where there is, or where it is too early to tell.

    `silent`: the worker that holds images of this job has stopped; `turn`: other images come first; `worker`: unknown
    reason; else a `Condition` that keeps these images waiting.
    """
    status = watch().status()
    if now() - moved_at <= STALL_AFTER:
        return None
    if progress.counts[State.RUNNING]:
        is_silent = _is_held(db, status, by_living=False, job=job)
        return (_what_is_missing(status, job) or "silent") if is_silent else None
    if not progress.counts[State.QUEUED]:
        return None
    if _is_unserved(status, job):
        return Condition.MODEL_NOT_SERVED
    return "turn" if _is_held(db, status, by_living=True) else _what_is_missing(status, job) or "worker"


def _is_held(db: Session, status: Status, *, by_living: bool, job: Job | None = None) -> bool:
    """Tell whether images, of a `job` or any, are held by a worker with heartbeats in Redis or, else, without.

    Leases do not tell, as their times come from the workers' clocks. Where Redis does not answer, no worker counts as
    alive.
    """
    living = {heartbeat.worker for heartbeat in status.workers or ()}
    holder = Screening.worker.in_(living) if by_living else Screening.worker.not_in(living)
    of_job = () if job is None else (Screening.job_id == job.id,)
    held = select(Screening.id).where(in_states([State.RUNNING]), Screening.lease_until.is_not(None), holder, *of_job)
    return db.scalar(held.limit(1)) is not None


def _is_unserved(status: Status, job: Job) -> bool:
    """Tell whether there are workers and none of them has loaded this job's model."""
    return bool(status.workers) and all(heartbeat.model_name != job.model_name for heartbeat in status.workers or ())


def _what_is_missing(status: Status, job: Job) -> Condition | None:
    """Return the condition that keeps a job's images waiting; a missing model is reported by every page's banner."""
    if status.checks[Check.MODEL] is Condition.NO_MODEL and job.model_name == status.model:
        return None
    if _is_unserved(status, job):
        return Condition.MODEL_NOT_SERVED
    for check in (Check.BROKER, Check.WORKERS, Check.SCREENING):
        if status.checks[check] in {Condition.BROKER_AWAY, Condition.NO_WORKER, Condition.NO_PROGRESS}:
            return status.checks[check]
    return None
