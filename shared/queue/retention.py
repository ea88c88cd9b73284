"""Retention: remove old jobs, with the images, predictions and files that no other job needs.

Rows are deleted before files, so that no row ever lacks its image.

An image's row leaves a tombstone in the same transaction; the sweep removes the files of images with one
(`stray_files`).
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from shared.audit.record import Action, record
from shared.db import Database, insert_new, now, row_count
from shared.errors import JobUnfinished
from shared.queue.removed import Removed
from shared.queue.stray_files import find_strays, remove_strays, remove_tombstoned_files
from shared.reviews import latest
from shared.states import FINAL_STATES, State
from shared.store.store import Store
from shared.tables import Image, Job, Prediction, Screening, Tombstone, in_states

PART: Final = 500
"""Images of one transaction: SQLite's one write lock is held for some tens of milliseconds."""

_UNENDED: Final = frozenset(State) - FINAL_STATES
_IN_BULK: Final = {"synchronize_session": False}


def delete_job(database: Database, job_id: uuid.UUID, trace: Callable[[Session], None]) -> Removed:
    """Delete one job with all that only it needs; `trace` writes the audit row. The sweep removes the files.

    A large job is deleted in several transactions; after a crash between two, deleting it again continues. Raises
    JobUnfinished where one of its images still waits or is being screened.
    """
    removed = sum(_remove_job(database, job_id, None, trace), Removed())
    if removed.jobs == 0:
        with database.read() as session:
            if session.get(Job, job_id) is not None:
                raise JobUnfinished("Only a job that has finished can be deleted. Cancel it first.")
    return removed


def purge(database: Database, store: Store, before: datetime, actor: str | None = None) -> Iterator[Removed]:
    """Remove jobs that ended before a time, images that no job needs, and stray files; yield what each part removed.

    The audit trail names `actor`. Each part is a separate transaction. It may stop anywhere: the next purge or the
    sweep continues.
    """
    for job_id in _ended_jobs(database, before):
        yield from _remove_job(database, job_id, before, _note_purge(job_id, actor))
    for image_ids in _unused_images(database):
        with database.write() as session:
            part = _remove_unused(session, image_ids)
        yield part
    while remove_tombstoned_files(database, store):
        pass
    yield from remove_strays(database, store)


def survey(database: Database, store: Store, before: datetime) -> Removed:
    """Count what `purge` would remove now."""
    ended = select(Job.id).where(*_has_ended(before))
    goes = Screening.job_id.in_(ended)
    stays = Screening.job_id.not_in(ended)
    image_goes = ~exists().where(Screening.image_id == Image.id, stays)
    answer_goes = [
        ~exists().where(Screening.prediction_id == Prediction.id, stays),
        ~_is_awaited(Prediction.image_id),
        # Another model's prediction for an image that stays is removed with the job that asked for it.
        ~exists().where(Screening.image_id == Prediction.image_id, stays)
        | exists().where(Screening.image_id == Prediction.image_id, goes),
    ]
    with database.read() as session:
        images, image_bytes = session.execute(
            select(func.count(), func.coalesce(func.sum(Image.size_bytes), 0)).select_from(Image).where(image_goes)
        ).one()
        removed = Removed(
            jobs=_count(session, Job, *_has_ended(before)),
            screenings=_count(session, Screening, goes),
            predictions=_count(session, Prediction, *answer_goes),
            images=images,
            image_bytes=int(image_bytes),
        )
    strays = [image for some in find_strays(database, store) for image in some]
    return removed + Removed(stray_files=len(strays), stray_bytes=sum(image.size for image in strays))


def _has_ended(before: datetime | None) -> list[ColumnElement[bool]]:
    """Match jobs whose last image ended before a time, or at all."""
    image = aliased(Screening)
    of_job = exists().correlate(Job)
    unended = [image.state == state for state in sorted(_UNENDED)]
    matched = [Job.closed_at.is_not(None), ~of_job.where(image.job_id == Job.id, unended[0] | unended[1])]
    if before is not None:
        matched += [Job.closed_at < before, ~of_job.where(image.job_id == Job.id, image.finished_at >= before)]
    return matched


def _ended_jobs(database: Database, before: datetime) -> Iterator[uuid.UUID]:
    wanted = select(Job.id).where(*_has_ended(before))
    return (job_id for some in _pages(database, wanted, Job.id) for job_id in some)


def _unused_images(database: Database) -> Iterator[Sequence[uuid.UUID]]:
    """Find images without screenings, left by workers that were still busy with images of a deleted job."""
    wanted = select(Image.id).where(~exists().where(Screening.image_id == Image.id))
    return _pages(database, wanted, Image.id)


def _pages(database: Database, wanted: Select[uuid.UUID], key: Any) -> Iterator[Sequence[uuid.UUID]]:
    """Yield ids in pages of PART, each read in a transaction that has ended when the page is used."""
    last = uuid.UUID(int=0)
    while True:
        with database.read() as session:
            page = session.scalars(wanted.where(key > last).order_by(key).limit(PART)).all()
        if not page:
            return
        yield page
        last = page[-1]


def _note_purge(job_id: uuid.UUID, actor: str | None) -> Callable[[Session], None]:
    return lambda session: record(session, Action.JOB_PURGED, user_id=None, actor=actor, subject=job_id)


def _remove_job(
    database: Database, job_id: uuid.UUID, before: datetime | None, trace: Callable[[Session], None]
) -> Iterator[Removed]:
    """Remove a job part by part, unless its images are being screened again."""
    is_first, goes_on = True, True
    while goes_on:
        with database.write() as session:
            # Locked against other removals and uploads.
            wanted = select(Job.id).where(Job.id == job_id, *_has_ended(before)).with_for_update(of=Job)
            if session.scalar(wanted) is None:
                return
            if is_first:
                trace(session)
            part = _remove_some(session, job_id)
        yield part
        is_first, goes_on = False, part.jobs == 0


def _remove_some(session: Session, job_id: uuid.UUID) -> Removed:
    wanted = select(Screening.id, Screening.image_id, Image.sha256).outerjoin(Image)
    rows = session.execute(wanted.where(Screening.job_id == job_id).limit(PART)).all()
    images = [row.image_id for row in rows if row.image_id]
    latest.hold_images(session, {row.sha256 for row in rows if row.sha256})
    # An image that was just queued again stays, and its job with it.
    ended = delete(Screening).where(Screening.id.in_([row.id for row in rows]), in_states(sorted(FINAL_STATES)))
    screenings = row_count(session.execute(ended, execution_options=_IN_BULK))
    unused = _remove_unused(session, images)
    latest.choose(session, set(images))
    empty = delete(Job).where(Job.id == job_id, ~exists().where(Screening.job_id == job_id))
    jobs = row_count(session.execute(empty, execution_options=_IN_BULK))
    return unused + Removed(jobs=jobs, screenings=screenings)


def _remove_unused(session: Session, image_ids: Iterable[uuid.UUID]) -> Removed:
    """Remove these images and their predictions where no screening needs them, and leave tombstones."""
    # An image locked by others is being added by an upload or predicted by a worker. Images locked here cannot be added
    # until the commit; `shared.queue.jobs` then finds them gone and inserts new rows.
    free = select(Image.id).where(Image.id.in_(set(image_ids))).order_by(Image.id).with_for_update(skip_locked=True)
    ids = session.scalars(free).all()
    unasked = delete(Prediction).where(
        Prediction.image_id.in_(ids),
        ~exists().where(Screening.prediction_id == Prediction.id),
        ~_is_awaited(Prediction.image_id),
    )
    predictions = row_count(session.execute(unasked, execution_options=_IN_BULK))
    unnamed = delete(Image).where(Image.id.in_(ids), ~exists().where(Screening.image_id == Image.id))
    gone = session.execute(unnamed.returning(Image.sha256, Image.size_bytes), execution_options=_IN_BULK).all()
    if gone:
        insert_new(session, Tombstone, [{"sha256": image.sha256, "due_at": now()} for image in gone])
    return Removed(predictions=predictions, images=len(gone), image_bytes=sum(image.size_bytes for image in gone))


def _is_awaited(image_id: Any) -> ColumnElement[bool]:
    """Match images that a worker holds or will claim: it may use an earlier prediction found on claiming."""
    return exists().where(Screening.image_id == image_id, in_states(sorted(_UNENDED)))


def _count(session: Session, table: type, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0
