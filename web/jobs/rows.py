"""The rows of the list of jobs: the status of each, and its findings."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flask import g
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.models.spec import Label
from shared.tables import Job, Screening
from web.jobs.progress import FINISHED, Progress, jobs_progress, labels_counts


@dataclass(frozen=True)
class JobEntry:
    """One job of a list."""

    job: Job
    progress: Progress
    labels: dict[Label, int]
    only_image: uuid.UUID | None
    """The only screening of a finished job, to be opened instead of a list of one row."""


def describe_jobs(session: Session, jobs: Sequence[Job]) -> list[JobEntry]:
    """Measure the jobs of a page together."""
    progress, labels = jobs_progress(session, jobs, with_speed=False), labels_counts(session, jobs, g.user)
    single = [job.id for job in jobs if progress[job.id].total == 1 and progress[job.id].state == FINISHED]
    query = select(Screening.job_id, Screening.id).where(Screening.job_id.in_(single))
    only = {job_id: screening_id for job_id, screening_id in session.execute(query)}  # noqa: C416  # rows are no pairs
    return [JobEntry(job, progress[job.id], labels[job.id], only.get(job.id)) for job in jobs]
