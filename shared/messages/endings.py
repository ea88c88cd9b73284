"""Record the end of jobs, whatever ended their last image: a worker, a cancellation, an expired lease."""

import logging
import uuid
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Exists, exists, func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.db import Database, now
from shared.messages.events import BY_HAND, note_finished
from shared.models.spec import Label
from shared.states import FINAL_STATES, State
from shared.tables import Job, Screening, in_states

log = logging.getLogger(__name__)

_AT_ONCE: Final = 200
_UNENDED: Final = tuple(sorted(frozenset(State) - FINAL_STATES))


def note_ends(database: Database, failed: list[uuid.UUID]) -> int:
    """Record newly ended jobs and the messages about them; return how many.

    The caller keeps `failed` between calls: jobs whose end could not be recorded come last, in rotation, so that they
    block no others. Raises the error of an unavailable database.
    """
    noted = 0
    for job_id in [*_ended(database, failed), *failed]:
        if job_id in failed:
            failed.remove(job_id)
        try:
            with database.write() as session:
                noted += _note_end(session, job_id)
        except (OperationalError, InterfaceError, PoolTimeout):
            failed.append(job_id)
            raise
        except Exception:
            log.exception("The end of job %s could not be noted; the next sweep tries again.", job_id)
            failed.append(job_id)
    return noted


def _ended(database: Database, apart_from: Collection[uuid.UUID]) -> Sequence[uuid.UUID]:
    ended = select(Job.id).where(Job.is_watched, Job.closed_at.is_not(None), ~_goes_on(), Job.id.not_in(apart_from))
    with database.read() as session:
        return session.scalars(ended.order_by(Job.id).limit(_AT_ONCE)).all()


def _goes_on() -> Exists:
    return exists().where(Screening.job_id == Job.id, in_states(_UNENDED))


def _note_end(session: Session, job_id: uuid.UUID) -> bool:
    """Record the end of one job unless it was retried, removed or recorded meanwhile."""
    # The job's row is locked first, as in `jobs.retry`: the query of its images then sees what that wrote.
    job = session.scalar(select(Job).where(Job.id == job_id, Job.is_watched).with_for_update())
    if job is None or session.scalar(select(Job.id).where(Job.id == job_id, _goes_on())) is not None:
        return False
    job.is_watched, job.ended_at = False, now()
    if job.source not in BY_HAND:  # nobody watches a page for it
        job.seen_at = job.ended_at
    by_state = select(Screening.state, func.count()).where(Screening.job_id == job_id).group_by(Screening.state)
    counts = {state.value: 0 for state in State if state in FINAL_STATES}
    counts |= {state.value: images for state, images in session.execute(by_state)}
    labelled = (Screening.job_id == job_id, Screening.label == Label.PNEUMONIA)
    flagged = session.scalar(select(func.count()).select_from(Screening).where(*labelled)) or 0
    note_finished(session, job, job.ended_at, counts, flagged)
    return True
