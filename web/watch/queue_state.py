"""Measure the queue from rows, not Redis: images by state, waiting times and stalls."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.orm import Session

from shared.db import now
from shared.states import State
from shared.tables import Job, Prediction, Priority, Screening, in_states

_QUEUED: Final = (State.QUEUED,)
_RUNNING: Final = (State.RUNNING,)
RECENT_IMAGES: Final = 10_000


def count_running(session: Session) -> int:
    """Count the images that workers hold."""
    # The redundant condition on leases makes SQLite use their index instead of that of all images.
    held = (in_states(_RUNNING), Screening.lease_until.is_not(None))
    return session.scalar(select(func.count()).select_from(Screening).where(*held)) or 0


def count_by_state(session: Session) -> dict[State, int]:
    """Count all images by state. DONE is computed as the rest: most images are, and counting them takes a second.

    While a large job is being deleted, its images already removed are counted as DONE.
    """
    # One statement, for consistent counts.
    images = [_count(state).label(state) for state in State if state is not State.DONE]
    total = select(func.coalesce(func.sum(Job.next_position), 0)).scalar_subquery().label("total")
    counts = dict(session.execute(select(total, *images)).mappings().one())
    others: dict[State, int] = {state: counts[state] for state in State if state is not State.DONE}
    return {**others, State.DONE: counts["total"] - sum(others.values())}


def _count(state: State) -> ScalarSelect[int]:
    which = [in_states([state])]
    if state is State.RUNNING:
        which.append(Screening.lease_until.is_not(None))
    return select(func.count()).select_from(Screening).where(*which).scalar_subquery()


def oldest_waiting(session: Session) -> datetime | None:
    """Return since when the longest waiting image has waited: since it was sent, or its job was retried."""
    # By the index of waiting images, not by scanning all images for a waiting one; ids are ordered by time.
    queued = select(Screening.id, Screening.job_id).where(in_states(_QUEUED))
    waiting = queued.cte("waiting").prefix_with("MATERIALIZED")
    unretried = select(waiting.c.id).join(Job, Job.id == waiting.c.job_id).where(Job.retried_at.is_(None))
    first = unretried.order_by(waiting.c.id).limit(1).scalar_subquery()
    sent_at = session.scalar(select(Screening.created_at).where(Screening.id == first))
    is_waiting = select(Screening.id).where(Screening.job_id == Job.id, in_states(_QUEUED)).exists()
    retried_at = session.scalar(select(func.min(Job.retried_at)).where(Job.is_watched, is_waiting))
    return min((at for at in (sent_at, retried_at) if at is not None), default=None)


def _since(sent_at: datetime, retried_at: datetime | None) -> datetime:
    return sent_at if retried_at is None else max(sent_at, retried_at)


def has_stalled(session: Session, served: Collection[str] | None, after: timedelta) -> bool:
    """Tell whether images have waited so long without any being finished or claimed.

    `served` limits this to images of these models; None means all.
    """
    limit = now() - after
    heads = [_head(session, priority, served) for priority in Priority]
    if not any(at is not None and at < limit for at in heads):
        return False
    # Ids are ordered by time, so the newest prediction is found by its key.
    answered = session.scalar(select(Prediction.created_at).order_by(Prediction.id.desc()).limit(1))
    taken = session.scalar(select(func.max(Screening.started_at)).where(in_states(_RUNNING)))
    return all(at is None or at < limit for at in (answered, taken))


def _head(session: Session, priority: Priority, served: Collection[str] | None) -> datetime | None:
    """Return since when the next image of a priority, in claiming order, has waited."""
    wanted: list[ColumnElement[bool]] = [] if served is None else [Job.model_name.in_(served)]
    head = session.execute(
        select(Screening.created_at, Job.retried_at)
        .join(Job)
        .where(in_states(_QUEUED), Screening.priority == priority, *wanted)
        .order_by(Screening.turn, Screening.id)
        .limit(1)
    ).one_or_none()
    return None if head is None else _since(*head)


def recent_errors(session: Session) -> list[tuple[str, int]]:
    """Count the codes of rejection and failure among the last RECENT_IMAGES sent, most frequent first."""
    last = select(Screening.error_code).order_by(Screening.id.desc()).limit(RECENT_IMAGES).subquery()
    code, images = last.c.error_code, func.count()
    found = select(code, images).where(code.is_not(None)).group_by(code).order_by(images.desc(), code)
    return [(name, number) for name, number in session.execute(found)]
