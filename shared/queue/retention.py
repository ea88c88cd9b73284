"""Retention: remove old jobs, with the images, predictions and files that no other job needs.

Rows go first and files after them, so that no row ever lacks its image.

An image's row leaves a tombstone in the same transaction, and the sweep removes the files of what lies under one. An
image that was kept within UPLOADS_END_WITHIN stays for as long: an upload that is under way may have kept it too and
will name it in a row.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from itertools import islice
from math import inf
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, Select, delete, exists, func, select, update
from sqlalchemy.orm import Session, aliased

from shared.audit.record import Action, record
from shared.db import Database, insert_new, now, row_count
from shared.errors import JobUnfinished, StoreAway, StoreFull
from shared.reviews import latest
from shared.states import FINAL_STATES, State
from shared.store.incoming import IMAGES
from shared.store.store import DERIVED, Store, StoredImage
from shared.tables import Image, Job, Prediction, Screening, Tombstone, in_states

log = logging.getLogger(__name__)

T = TypeVar("T")

PART: Final = 500
"""Images of one transaction: SQLite's one write lock is held for some tens of milliseconds."""
UPLOADS_END_WITHIN: Final = timedelta(days=1)
"""From the moment that a request's first image is in the store until its rows are written."""
COLLECT_EVERY_SECONDS: Final = 24 * 3600.0
"""A look through a store of ten million files is ten thousand requests to a bucket."""
AGAIN_AFTER_SECONDS: Final = 600.0
"""A look that broke off begins anew, and would otherwise be at the same place with every sweep."""

_UNENDED: Final = frozenset(State) - FINAL_STATES
_IN_BULK: Final = {"synchronize_session": False}


@dataclass(frozen=True)
class Removed:
    """What has gone, or would go."""

    jobs: int = 0
    screenings: int = 0
    predictions: int = 0
    images: int = 0
    image_bytes: int = 0
    stray_files: int = 0
    """Files in the store that no row names, as a request that failed leaves them."""
    stray_bytes: int = 0

    def __add__(self, other: Self) -> "Removed":
        return Removed(*[mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)])


def delete_job(database: Database, job_id: uuid.UUID, trace: Callable[[Session], None]) -> Removed:
    """Delete one job with what only it needed; `trace` writes the audit row. The sweep removes the files.

    A large job goes in several transactions; after a crash between two, deleting it again goes on. Raises JobUnfinished
    where an image of it still waits or is being screened.
    """
    removed = sum(_remove_job(database, job_id, None, trace), Removed())
    if removed.jobs == 0:
        with database.read() as session:
            if session.get(Job, job_id) is not None:
                raise JobUnfinished("Only a job that has finished can be deleted. Cancel it first.")
    return removed


def purge(database: Database, store: Store, before: datetime, actor: str | None = None) -> Iterator[Removed]:
    """Remove jobs that ended before a time, images that no job needs, and stray files; yield what each part removed.

    `actor` is whom the audit trail names. Each part is a transaction of its own. Stop anywhere: the next purge or the
    sweep goes on.
    """
    for job_id in _ended_jobs(database, before):
        yield from _remove_job(database, job_id, before, _note_purge(job_id, actor))
    for image_ids in _unused_images(database):
        with database.write() as session:
            part = _remove_unused(session, image_ids)
        yield part
    while remove_tombstoned_files(database, store):
        pass
    yield from _remove_strays(database, store)


def survey(database: Database, store: Store, before: datetime) -> Removed:
    """Count what `purge` would remove now."""
    ended = select(Job.id).where(*_has_ended(before))
    goes = Screening.job_id.in_(ended)
    stays = Screening.job_id.not_in(ended)
    image_goes = ~exists().where(Screening.image_id == Image.id, stays)
    answer_goes = [
        ~exists().where(Screening.prediction_id == Prediction.id, stays),
        ~_is_awaited(Prediction.image_id),
        # What an image that stays was answered by another model goes with the job that asked.
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
    strays = [image for some in _strays(database, store) for image in some]
    return removed + Removed(stray_files=len(strays), stray_bytes=sum(image.size for image in strays))


def remove_tombstoned_files(database: Database, store: Store) -> int:
    """Remove the files of up to PART images under a tombstone that is due; return how many tombstones were looked at.

    Raises StoreAway where the store cannot be reached; the tombstones then stay as they are.
    """
    at = now()
    with database.read() as session:
        due = select(Tombstone.sha256).where(Tombstone.due_at <= at).order_by(Tombstone.due_at).limit(PART)
        keys = session.scalars(due).all()
        sent_again = _named(session, keys)
    if not keys:
        return 0
    settled = [key for key in keys if key in sent_again or _remove_files(store, key, at - UPLOADS_END_WITHIN)]
    with database.write() as session:
        session.execute(delete(Tombstone).where(Tombstone.sha256.in_(settled)))
        postponed = Tombstone.sha256.in_(set(keys) - set(settled))
        session.execute(update(Tombstone).where(postponed).values(due_at=at + UPLOADS_END_WITHIN))
    return len(keys)


def _remove_files(store: Store, key: str, before: datetime) -> bool:
    """Remove an image's files unless it was kept since `before`; False also where only these cannot be removed.

    They are tried again another day and hold up no others. Raises StoreAway where the store is not well.
    """
    try:
        return store.remove(key, before)
    except StoreAway as error:
        with suppress(StoreFull):
            store.check()
        log.warning("The files of one image cannot be removed. %s", error)
        return False


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
    """Find images that no screening names, as a worker leaves them that was still at an image of a deleted job."""
    wanted = select(Image.id).where(~exists().where(Screening.image_id == Image.id))
    return _pages(database, wanted, Image.id)


def _pages(database: Database, wanted: Select[uuid.UUID], key: Any) -> Iterator[Sequence[uuid.UUID]]:
    """Yield ids by PART, each page in a transaction that is over when the page is used."""
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
    """Remove a job part by part, for as long as nobody has its images screened again."""
    is_first, goes_on = True, True
    while goes_on:
        with database.write() as session:
            # Locked, so that no other removal and no upload are at it.
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
    # An image that was queued again a moment ago stays, and its job with it.
    ended = delete(Screening).where(Screening.id.in_([row.id for row in rows]), in_states(sorted(FINAL_STATES)))
    screenings = row_count(session.execute(ended, execution_options=_IN_BULK))
    unused = _remove_unused(session, images)
    latest.choose(session, set(images))
    empty = delete(Job).where(Job.id == job_id, ~exists().where(Screening.job_id == job_id))
    jobs = row_count(session.execute(empty, execution_options=_IN_BULK))
    return unused + Removed(jobs=jobs, screenings=screenings)


def _remove_unused(session: Session, image_ids: Iterable[uuid.UUID]) -> Removed:
    """Remove those of these images, and of their predictions, that no screening needs, and leave tombstones."""
    # An image that is locked is named by an upload or answered by a worker at this moment. What is locked here nobody
    # names until the commit, and `shared.queue.jobs` then finds it gone and makes a new row.
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
    """Match images that a worker holds or will: it may have found an earlier prediction when it claimed the image."""
    return exists().where(Screening.image_id == image_id, in_states(sorted(_UNENDED)))


class StrayCollection:
    """Garbage collection of what uploads left that were broken off: files of the store that no row names.

    The sweep calls it again and again; each call looks at a bounded number of files, so that nothing else waits for it.
    """

    def __init__(self, database: Database, store: Store) -> None:
        self._database, self._store = database, store
        self._parts: Iterator[Removed] | None = None
        self._rests_until = -inf

    def remove_some(self, at: float) -> Removed:
        """Look at up to PART files more, at `at` seconds of a monotonic clock, and remove the strays among them.

        After all files it rests for COLLECT_EVERY_SECONDS. Raises StoreAway where the store cannot be reached; it then
        begins anew after AGAIN_AFTER_SECONDS.
        """
        if at < self._rests_until:
            return Removed()
        if self._parts is None:
            self._store.remove_unfinished(now() - UPLOADS_END_WITHIN)
            self._parts = _remove_strays(self._database, self._store) if self._is_own_store() else iter(())
        try:
            removed = next(self._parts, None)
        except Exception:
            self._parts, self._rests_until = None, at + AGAIN_AFTER_SECONDS
            raise
        if removed is None:
            self._parts, self._rests_until = None, at + COLLECT_EVERY_SECONDS
        return removed or Removed()

    def _is_own_store(self) -> bool:
        """Tell whether rows and files can belong together: a new database beside an old store would empty it."""
        with self._database.read() as session:
            if session.scalar(select(Image.id).limit(1)) is not None:
                return True
        if len(list(islice(self._store.images(), PART + 1))) <= PART:
            return True
        log.warning(
            "The database names no image, and the image store holds many: nothing of it is removed. If database and "
            "store belong together, `pneumoscreen purge` removes them."
        )
        return False


def _remove_strays(database: Database, store: Store) -> Iterator[Removed]:
    for some in _strays(database, store):
        gone = [image for image in some if _remove_files(store, image.key, now() - UPLOADS_END_WITHIN)]
        yield Removed(stray_files=len(gone), stray_bytes=sum(image.size for image in gone))


def _strays(database: Database, store: Store) -> Iterator[list[StoredImage]]:
    """Look at the files of the store by PART; yield those that no row names and no upload under way has kept."""
    before = now() - UPLOADS_END_WITHIN
    for kind in (IMAGES, *DERIVED):
        for some in batched(store.images(kind), PART):
            old = [image for image in some if image.modified_at < before]
            known = _known(database, [image.key for image in old])
            strays = [image for image in old if image.key not in known]
            yield [image for image in strays if kind == IMAGES or not store.has(image.key, IMAGES)]


def _known(database: Database, keys: Sequence[str]) -> set[str]:
    """Return those keys that an image's row or a tombstone names."""
    with database.read() as session:
        tombstones = session.scalars(select(Tombstone.sha256).where(Tombstone.sha256.in_(keys)))
        return _named(session, keys) | set(tombstones)


def _named(session: Session, keys: Sequence[str]) -> set[str]:
    return set(session.scalars(select(Image.sha256).where(Image.sha256.in_(keys))))


def _count(session: Session, table: type, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items by up to `size`; Python has this from 3.12."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
