"""Measure the progress and speed of jobs."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, Select, case, func, or_, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.models.spec import Label
from shared.reviews.blind import is_hidden_from
from shared.states import FINAL_STATES, State
from shared.submission.backlog import SPEED_WINDOW
from shared.tables import Job, Screening, User, in_states
from web.base.blind import hides_from

JobState = Literal["RECEIVING", "SCREENING", "FINISHED"]
RECEIVING: Final = "RECEIVING"
SCREENING: Final = "SCREENING"
FINISHED: Final = "FINISHED"


@dataclass(frozen=True)
class Progress:
    """The progress of a job."""

    state: JobState
    total: int
    received: int
    """Including those already removed while the job is being deleted."""
    expected: int | None
    counts: dict[State, int]
    settled: int
    percent: float
    """Of announced or received images, whichever are more; 0 to 100."""
    per_second: float | None
    """Images a second settled by workers: recently while the job runs, overall once it has finished."""
    seconds_left: float | None
    moved_at: datetime | None = None
    """When an image was last claimed, finished by a worker, or cancelled."""


@dataclass(frozen=True)
class _Work:
    """The workers' share of a job, without images settled by earlier predictions or refused at intake."""

    first_started: datetime | None = None
    last_finished: datetime | None = None
    settled: int = 0
    settled_lately: int = 0
    moved_at: datetime | None = None


def job_progress(session: Session, job: Job) -> Progress:
    """Measure one job."""
    return jobs_progress(session, [job])[job.id]


def jobs_progress(session: Session, jobs: Sequence[Job], *, with_speed: bool = True) -> dict[uuid.UUID, Progress]:
    """Measure several jobs together, using indexes alone: 50,000 images in some 10 ms on PostgreSQL, 30 on SQLite."""
    ids, at = [job.id for job in jobs], now()
    counts = {key: dict.fromkeys(State, 0) for key in ids}
    for key, state, images in session.execute(_count_by(Screening.state, ids)):
        counts[key][state] = images
    work = _measure_work(session, ids, at) if with_speed else {}
    return {job.id: _progress(job, counts[job.id], work.get(job.id, _Work()), at) for job in jobs}


def label_counts(session: Session, job: Job, viewer: User) -> dict[Label, int]:
    """Count a job's images by label, without those whose label is hidden from the viewer."""
    return labels_counts(session, [job], viewer)[job.id]


def labels_counts(session: Session, jobs: Sequence[Job], viewer: User) -> dict[uuid.UUID, dict[Label, int]]:
    """Count several jobs' images by label, by an index alone where none is hidden."""
    ids = [job.id for job in jobs]
    found = {key: dict.fromkeys(Label, 0) for key in ids}
    query = _count_by(Screening.label, ids).where(Screening.label.is_not(None))
    if hides_from(viewer):
        query = query.where(~is_hidden_from(viewer))
    for key, label, images in session.execute(query):
        found[key][label] = images
    return found


def count_hidden(progress: Progress, labels: Mapping[Label, int]) -> int:
    """Count a job's results hidden from its viewer, given the visible ones by label."""
    return max(0, progress.counts[State.DONE] - sum(labels.values()))  # a job may progress meanwhile


def _count_by(column: Any, ids: list[uuid.UUID]) -> Select[Any]:
    query = select(Screening.job_id, column, func.count()).where(Screening.job_id.in_(ids))
    return query.group_by(Screening.job_id, column)


def _measure_work(session: Session, ids: list[uuid.UUID], at: datetime) -> dict[uuid.UUID, _Work]:
    started = Screening.started_at.is_not(None)
    lately = started & (Screening.finished_at > at - SPEED_WINDOW)
    sums = select(
        Screening.job_id,
        Screening.state,
        func.min(Screening.started_at).label("first_started"),
        func.max(Screening.started_at).label("last_started"),
        func.max(Screening.finished_at).label("last_settled"),
        func.max(case((started, Screening.finished_at))).label("last_finished"),
        func.count(case((started, Screening.finished_at))).label("worked"),
        func.count(case((lately, 1))).label("worked_lately"),
    )
    rows: dict[uuid.UUID, list[Row[Any]]] = {key: [] for key in ids}
    touched = (Screening.job_id.in_(ids), or_(started, in_states([State.CANCELLED])))
    for row in session.execute(sums.where(*touched).group_by(Screening.job_id, Screening.state)):
        rows[row.job_id].append(row)
    return {key: _sum_up(rows[key]) for key in ids}


def _sum_up(rows: list[Row[Any]]) -> _Work:
    counted = [row for row in rows if row.state is not State.CANCELLED]
    return _Work(
        first_started=min((row.first_started for row in rows if row.first_started), default=None),
        last_finished=max((row.last_finished for row in rows if row.last_finished), default=None),
        settled=sum(row.worked for row in counted),
        settled_lately=sum(row.worked_lately for row in counted),
        moved_at=max((at for row in rows for at in (row.last_started, row.last_settled) if at), default=None),
    )


def _progress(job: Job, counts: dict[State, int], work: _Work, at: datetime) -> Progress:
    total = sum(counts.values())
    settled = sum(counts[state] for state in FINAL_STATES)
    state: JobState = RECEIVING if job.closed_at is None else FINISHED if settled == total else SCREENING
    end = total if job.closed_at is not None else max(total, job.expected_images or 0)
    # Images may have been retried days later.
    per_second = None if state == FINISHED and job.retried_at is not None else _speed(state, work, at)
    return Progress(
        state=state,
        total=total,
        received=max(job.next_position, total),
        expected=job.expected_images,
        counts=counts,
        settled=settled,
        percent=100.0 * settled / end if end else 100.0 * (state == FINISHED),
        per_second=per_second,
        seconds_left=(end - settled) / per_second if per_second and state != FINISHED else None,
        moved_at=work.moved_at,
    )


def _speed(state: JobState, work: _Work, at: datetime) -> float | None:
    if work.first_started is None or work.last_finished is None:
        return None
    if state == FINISHED:
        images, span = work.settled, work.last_finished - work.first_started
    else:
        images, span = work.settled_lately, min(SPEED_WINDOW, at - work.first_started)
    return images / span.total_seconds() if images and span.total_seconds() > 0 else None
