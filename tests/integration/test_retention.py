"""Deleting and purging on both databases: what nobody needs goes, what somebody needs stays, no row lacks its image."""

import hashlib
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select, update

from shared.db import Base, Database, now
from shared.errors import JobUnfinished
from shared.models.spec import ModelSpec
from shared.queue import jobs, retention, stray_files
from shared.queue.removed import Removed
from shared.states import State
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import AuditEvent, Image, Job, Prediction, Priority, Screening, Source, Tombstone, Upload, User
from tests.installation import LIMIT, Installation


@pytest.fixture
def installation(database: Database, store: FolderStore, spec: ModelSpec, technician: User) -> Installation:
    return Installation(database, store, spec, technician)


@pytest.fixture
def sqlite_installation(sqlite_database: Database, store: FolderStore, spec: ModelSpec) -> Installation:
    from shared.accounts import users
    from shared.tables import Role

    with sqlite_database.write() as session:
        user = users.add_user(session, "tina", Role.TECHNICIAN)
    return Installation(sqlite_database, store, spec, user)


# ---------------------------------------------------------------- what goes and what stays


def test_a_purge_removes_an_old_job_with_its_images_and_says_so_before(installation: Installation) -> None:
    job_id = installation.submit(b"one", b"two22")
    installation.work()
    installation.grow_old(job_id)
    expected = Removed(jobs=1, screenings=2, predictions=2, images=2, image_bytes=8)
    assert installation.survey() == expected
    assert installation.keys() == installation.named()
    assert installation.purge() == expected
    assert [installation.count(table) for table in (Job, Upload, Screening, Prediction, Image, Tombstone)] == [0] * 6
    assert [path.name for path in installation.store.root.rglob("*") if path.is_file()] == ["keys.json"]


def test_a_young_job_and_a_job_that_goes_on_stay(installation: Installation) -> None:
    young = installation.submit(b"young")
    installation.work()
    waiting = installation.submit(b"waiting")
    installation.grow_old(waiting)
    assert installation.survey() == installation.purge() == Removed()
    assert installation.named() == installation.keys()
    assert {young, waiting} <= set(_ids(installation, Job))


def test_an_image_that_another_job_shows_stays_with_its_prediction(installation: Installation) -> None:
    old = installation.submit(b"shared", b"own")
    installation.work()
    installation.grow_old(old)
    installation.submit(b"shared")
    assert (
        installation.survey()
        == installation.purge()
        == Removed(jobs=1, screenings=2, predictions=1, images=1, image_bytes=3)
    )
    assert installation.named() == installation.keys() == {installation.keep(b"shared").image.sha256}
    with installation.database.read() as session:
        (row,) = session.scalars(select(Screening)).all()
    assert (row.state, row.prediction_id is None) == (State.DONE, False)


def test_a_large_job_goes_in_bounded_transactions(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PART", 3)
    job_id = installation.submit(*[b"image %d" % n for n in range(10)])
    installation.work()
    installation.grow_old(job_id)
    parts = list(retention.purge(installation.database, installation.store, now() - LIMIT))
    assert max(part.screenings for part in parts) == 3
    assert sum(part.images for part in parts) == 10
    assert installation.keys() == set()


def test_a_purge_that_is_cut_short_is_finished_by_the_next(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    job_id = installation.submit(b"1", b"2", b"3", b"4", b"5")
    installation.work()
    installation.grow_old(job_id)
    cut_short = retention.purge(installation.database, installation.store, now() - LIMIT)
    assert next(cut_short).screenings == 2
    cut_short.close()
    assert installation.named() < installation.keys()
    assert installation.purge().screenings == 3
    assert installation.keys() == installation.named() == set()


def test_the_sweep_removes_the_files_of_a_deleted_job_once_no_upload_can_name_them(installation: Installation) -> None:
    job_id = installation.submit(b"image")
    installation.work()
    installation.delete(job_id)
    assert stray_files.remove_tombstoned_files(installation.database, installation.store) == 1
    assert len(installation.keys()) == 1, "an upload that is under way may have kept it"
    assert stray_files.remove_tombstoned_files(installation.database, installation.store) == 0
    installation.files_grow_old()
    with installation.database.write() as session:
        session.execute(update(Tombstone).values(due_at=now()))
    stray_files.remove_tombstoned_files(installation.database, installation.store)
    assert installation.keys() == set()
    assert installation.count(Tombstone) == 0


@pytest.mark.parametrize("prepare", ["cancelled", "rejected"])
def test_a_job_without_any_result_can_be_deleted(installation: Installation, prepare: str) -> None:
    job_id = installation.submit(b"image")
    with installation.database.write() as session:
        jobs.cancel(session, job_id)
        if prepare == "rejected":
            session.execute(update(Screening).values(state=State.REJECTED, image_id=None))
    assert installation.delete(job_id).jobs == 1
    assert installation.count(Screening) == 0


def test_a_job_that_goes_on_is_not_deleted(installation: Installation) -> None:
    job_id = installation.submit(b"image")
    with pytest.raises(JobUnfinished, match="Cancel it first"):
        installation.delete(job_id)
    assert installation.count(Screening) == 1


def test_deleting_leaves_its_trace_once_however_large_the_job(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PART", 1)
    job_id = installation.submit(b"1", b"2", b"3")
    installation.work()
    installation.grow_old(job_id)
    installation.purge()
    with installation.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.subject == str(job_id))).all()
    assert [event.action for event in events] == ["job_purged"]


def test_images_queued_again_between_two_parts_stay(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PART", 1)
    job_id = installation.submit(b"1", b"2", b"3")
    with installation.database.write() as session:
        jobs.cancel(session, job_id)
    installation.grow_old(job_id)
    parts = retention.purge(installation.database, installation.store, now() - LIMIT)
    next(parts)
    with installation.database.write() as session:
        assert jobs.retry(session, job_id) == 2
    assert sum(parts, Removed()).jobs == 0
    assert installation.count(Screening) == 2
    assert installation.named() <= installation.keys()


def test_a_retry_in_the_middle_of_a_purge_loses_no_image_that_it_queued(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    for number in range(4):
        job_id = installation.submit(*[f"{number} {image}".encode() for image in range(8)])
        with installation.database.write() as session:
            jobs.cancel(session, job_id)
        installation.grow_old(job_id)
        queued = _at_once(installation, job_id)
        assert len(_states(installation, job_id)) == queued
        assert set(_states(installation, job_id)) <= {State.QUEUED}
        assert installation.named() <= installation.keys()
        installation.work()
        assert _states(installation, job_id) == [State.DONE] * queued


def _at_once(installation: Installation, job_id: uuid.UUID) -> int:
    """Purge and retry a job in one moment, and return how many images were queued again."""
    barrier = threading.Barrier(2)

    def retry() -> int:
        barrier.wait()
        with installation.database.write() as session:
            return jobs.retry(session, job_id)

    def purge() -> None:
        barrier.wait()
        installation.purge()

    with ThreadPoolExecutor(2) as threads:
        queued, purged = threads.submit(retry), threads.submit(purge)
        purged.result()
        return queued.result()


# ---------------------------------------------------------------- files without rows


def test_stray_files_go_when_they_are_old(installation: Installation) -> None:
    installation.keep(b"of a request that failed")
    assert installation.survey() == Removed()
    installation.files_grow_old()
    young = installation.keep(b"of an upload under way").image.sha256
    installation.store.put_derived("0" * 64, THUMBNAIL, b"of no image")
    thumbnail = next(installation.store.root.glob(f"{THUMBNAIL}/*/*"))
    os.utime(thumbnail, (0, 0))
    expected = Removed(stray_files=2, stray_bytes=len(b"of a request that failed") + 32 + len(b"of no image"))
    assert installation.survey() == expected
    assert installation.purge() == expected
    assert installation.keys() == {young}
    assert not thumbnail.exists()


def test_an_image_kept_again_before_its_file_is_removed_stays(installation: Installation) -> None:
    """The upload of an image that is just being purged: kept, purged, named."""
    job_id = installation.submit(b"image")
    installation.work()
    installation.grow_old(job_id)
    received = installation.keep(b"image")
    installation.purge()
    assert installation.named() == set()
    again = installation.add([received])
    installation.work()
    assert installation.named() == installation.keys()
    assert _states(installation, again) == [State.DONE]
    installation.purge()
    assert installation.named() == installation.keys() != set()


def test_a_tombstone_falls_when_the_image_comes_back(installation: Installation) -> None:
    installation.delete(_worked(installation, b"image"))
    installation.submit(b"image")
    installation.files_grow_old()
    with installation.database.write() as session:
        session.execute(update(Tombstone).values(due_at=now()))
    stray_files.remove_tombstoned_files(installation.database, installation.store)
    assert installation.count(Tombstone) == 0
    assert installation.named() == installation.keys() != set()


# ---------------------------------------------------------------- at the same time


def test_a_worker_that_still_holds_a_deleted_image_answers_the_others(installation: Installation) -> None:
    deleted = installation.submit(b"deleted")
    stays = installation.submit(b"stays")
    claim = installation.claim()
    assert claim is not None
    assert len(claim.screenings) == 2
    with installation.database.write() as session:
        jobs.cancel(session, deleted)
    installation.delete(deleted)
    assert installation.finish(claim) == 1
    assert _states(installation, stays) == [State.DONE]
    assert installation.count(Prediction) == 1


def test_a_prediction_that_a_worker_has_found_stays(installation: Installation) -> None:
    old = _worked(installation, b"image")
    with installation.database.write() as session:  # as when the web could not read the model's spec
        job = jobs.open_job(
            session, user_id=installation.user.id, name="b", source=Source.API, model_name=installation.spec.name,
            priority=Priority.BULK,
        )  # fmt: skip
        jobs.add_images(session, job.id, [installation.keep(b"image")], None)
        jobs.close_job(session, job.id)
    claim = installation.claim()
    assert claim is not None
    assert claim.screenings[0].prediction_id is not None
    installation.grow_old(old)
    assert installation.purge().predictions == 0
    assert installation.finish(claim) == 1
    assert _states(installation, job.id) == [State.DONE]


def test_uploads_of_an_image_while_it_is_purged_never_lose_it(installation: Installation) -> None:
    """Everything at once: two people send the same images and delete their jobs, and a purge runs all the while."""
    images = [b"image %d" % n for n in range(3)]
    stopped, errors = threading.Event(), []

    def send() -> None:
        for _ in range(8):
            job_id = installation.submit(*images)
            assert [data for data in images if not installation.store.has(hashlib.sha256(data).hexdigest())] == []
            with installation.database.write() as session:
                jobs.cancel(session, job_id)
            installation.delete(job_id)
        installation.submit(*images)

    def remove() -> None:
        while not stopped.is_set():
            with installation.database.write() as session:
                session.execute(update(Tombstone).values(due_at=now()))
            installation.purge()
            time.sleep(0.002)

    def guarded(work: object) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  # told to the test below
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    senders, remover = [guarded(send), guarded(send)], guarded(remove)
    for sender in senders:
        sender.join()
    stopped.set()
    remover.join()
    assert errors == []
    assert installation.named() == installation.keys()
    assert len(installation.named()) == 3
    installation.work()
    assert set(_states(installation)) <= {State.DONE}


def test_keeping_and_removing_an_old_image_at_once_leaves_a_whole_image_or_none(
    sqlite_installation: Installation,
) -> None:
    """The file alone, without any row: whoever kept it last finds it."""
    store = sqlite_installation.store
    key = sqlite_installation.keep(b"image").image.sha256
    path = store.root / "images" / key[:2] / key
    stopped = threading.Event()

    def remove() -> None:
        while not stopped.is_set():
            store.remove(key, now() - timedelta(hours=1))

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(60):
            sqlite_installation.keep(b"image")
            assert store.get(key) == b"image", "it is young"
            os.utime(path, (0, 0))
    finally:
        stopped.set()
        remover.join()


# ---------------------------------------------------------------- as a law

_JOBS = st.lists(
    st.tuples(st.sets(st.integers(0, 5), min_size=1), st.sampled_from(["old", "young", "waiting", "cancelled"])),
    max_size=6,
)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=_JOBS)
def test_a_purge_does_what_its_survey_says_and_leaves_no_loose_end(
    sqlite_installation: Installation, sent: list
) -> None:
    installation = sqlite_installation
    with installation.database.write() as session:
        for table in (Screening, Upload, Job, Prediction, Image, Tombstone):
            session.execute(Base.metadata.tables[table.__tablename__].delete())
    old, kept = [], set()
    for images, fate in sent:
        job_id = installation.submit(*[b"image %d" % n for n in images])
        if fate == "cancelled":
            with installation.database.write() as session:
                jobs.cancel(session, job_id)
        elif fate != "waiting":
            installation.work()
        if fate in {"old", "cancelled"}:
            old.append(job_id)
        else:
            kept |= {installation.keep(b"image %d" % n).image.sha256 for n in images}
    installation.grow_old(*old)
    still_waiting = _unended_jobs(installation)
    told = installation.survey()
    assert installation.purge() == told
    left = set(_ids(installation, Job))
    assert left.isdisjoint(set(old) - still_waiting)
    assert len(left) == len(sent) - told.jobs
    assert kept <= installation.named()
    assert installation.named() == installation.keys()
    assert installation.purge() == Removed()


def _unended_jobs(installation: Installation) -> set[uuid.UUID]:
    with installation.database.read() as session:
        waiting = select(Screening.job_id).where(Screening.state.in_([State.QUEUED, State.RUNNING]))
        return set(session.scalars(waiting))


def _worked(installation: Installation, *images: bytes) -> uuid.UUID:
    job_id = installation.submit(*images)
    installation.work()
    return job_id


def _ids(installation: Installation, table: type) -> list[uuid.UUID]:
    with installation.database.read() as session:
        return list(session.scalars(select(table.id)))


def _states(installation: Installation, job_id: uuid.UUID | None = None) -> list[State]:
    with installation.database.read() as session:
        wanted = select(Screening.state)
        return list(session.scalars(wanted if job_id is None else wanted.where(Screening.job_id == job_id)))
