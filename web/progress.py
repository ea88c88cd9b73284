"""How far a job is, how fast it goes, and whether anything can be screened at all."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.errors import ModelUnavailable
from shared.modelfolder import read_spec, verify_weights
from shared.modelspec import ModelSpec
from shared.settings import Settings
from shared.states import FINAL_STATES, State
from shared.tables import Job, Screening

JobState = Literal["RECEIVING", "SCREENING", "FINISHED"]
RECEIVING: Final = "RECEIVING"
SCREENING: Final = "SCREENING"
FINISHED: Final = "FINISHED"

# Long enough to hold several micro-batches of a slow worker, short enough to follow a change of speed.
SPEED_WINDOW: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class Progress:
    """Where a job stands."""

    state: JobState
    total: int
    expected: int | None
    counts: dict[State, int]
    settled: int
    percent: float
    """Of what was announced or has arrived, whichever is more; 0 to 100."""
    per_second: float | None
    """Films a second that workers settled: lately while the job runs, overall once it has finished."""
    seconds_left: float | None


@dataclass(frozen=True)
class _Work:
    """What workers did in a job."""

    first_started: datetime | None
    last_finished: datetime | None
    settled: int
    settled_lately: int


def job_progress(session: Session, job: Job) -> Progress:
    """Measure one job."""
    return jobs_progress(session, [job])[job.id]


def jobs_progress(session: Session, jobs: Sequence[Job]) -> dict[uuid.UUID, Progress]:
    """Measure several jobs with one query."""
    counts = {job.id: dict.fromkeys(State, 0) for job in jobs}
    work: dict[uuid.UUID, list[Row[Any]]] = {job.id: [] for job in jobs}
    at = now()
    for row in session.execute(_query(list(counts), at)):
        counts[row.job_id][row.state] = row.films
        work[row.job_id].append(row)
    return {job.id: _progress(job, counts[job.id], _sum_up(work[job.id]), at) for job in jobs}


def _query(job_ids: list[uuid.UUID], at: datetime) -> Any:
    # A film that an earlier prediction answered, or that was refused at intake, says nothing of the workers' speed.
    worked = Screening.started_at.is_not(None) & Screening.finished_at.is_not(None)
    return (
        select(
            Screening.job_id,
            Screening.state,
            func.count().label("films"),
            func.min(Screening.started_at).label("first_started"),
            func.max(case((worked, Screening.finished_at))).label("last_finished"),
            func.count(case((worked, 1))).label("worked"),
            func.count(case((worked & (Screening.finished_at > at - SPEED_WINDOW), 1))).label("worked_lately"),
        )
        .where(Screening.job_id.in_(job_ids))
        .group_by(Screening.job_id, Screening.state)
    )


def _sum_up(rows: list[Row[Any]]) -> _Work:
    return _Work(
        min((row.first_started for row in rows if row.first_started), default=None),
        max((row.last_finished for row in rows if row.last_finished), default=None),
        sum(row.worked for row in rows if row.state is not State.CANCELLED),
        sum(row.worked_lately for row in rows if row.state is not State.CANCELLED),
    )


def _progress(job: Job, counts: dict[State, int], work: _Work, at: datetime) -> Progress:
    total = sum(counts.values())
    settled = sum(counts[state] for state in FINAL_STATES)
    state: JobState = RECEIVING if job.closed_at is None else FINISHED if settled == total else SCREENING
    end = total if job.closed_at is not None else max(total, job.expected_films or 0)
    per_second = _speed(state, work, at)
    return Progress(
        state=state,
        total=total,
        expected=job.expected_films,
        counts=counts,
        settled=settled,
        percent=100.0 * settled / end if end else 100.0 * (state == FINISHED),
        per_second=per_second,
        seconds_left=(end - settled) / per_second if per_second and state != FINISHED else None,
    )


def _speed(state: JobState, work: _Work, at: datetime) -> float | None:
    if work.first_started is None or work.last_finished is None:
        return None
    if state == FINISHED:
        films, span = work.settled, work.last_finished - work.first_started
    else:
        films, span = work.settled_lately, min(SPEED_WINDOW, at - work.first_started)
    return films / span.total_seconds() if films and span.total_seconds() > 0 else None


def model_spec(settings: Settings) -> ModelSpec | None:
    """Return the spec of the model that screens; None where it cannot be read."""
    try:
        return read_spec(settings.model_dir)
    except ModelUnavailable:
        return None


def model_problem(settings: Settings) -> str | None:
    """Say why no model can screen; None where one can."""
    try:
        verify_weights(settings.model_dir, read_spec(settings.model_dir))
    except ModelUnavailable as error:
        return f"No model: {error}"
    return None
