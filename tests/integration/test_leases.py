"""The durable queue on both databases: claim, lease, finish, lose, cancel, retry, fairness and one outcome for each."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import event, func, select

from shared.db import Database
from shared.errors import ImageRejected, JobClosed
from shared.idempotency import IdempotencyKey
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import ModelSpec
from shared.queue import jobs, leases
from shared.queue.leases import Claim, Outcome
from shared.refusals import Rejection
from shared.states import State
from shared.tables import Job, Prediction, Priority, Screening, Source, User


def images(count: int, start: int = 0) -> list[Received]:
    return [
        Received(f"{n}.jpeg", image=AcceptedImage(f"{n:064x}", 1000, 256, 224, "image/jpeg"))
        for n in range(start, start + count)
    ]


class Queue:
    """The calls under test with what never changes between them."""

    def __init__(self, database: Database, spec: ModelSpec, user: User) -> None:
        self.database = database
        self.spec = spec
        self.user = user
        with database.write() as session:
            self.model_id = leases.register_model(session, spec)

    def submit(self, received: list[Received], priority: Priority = Priority.BULK, key: str | None = None) -> uuid.UUID:
        with self.database.write() as session:
            job = jobs.open_job(
                session,
                user_id=self.user.id,
                name="a job",
                source=Source.API,
                model_name=self.spec.name,
                priority=priority,
                key=IdempotencyKey(key) if key else None,
            )
            jobs.add_images(session, job.id, received, self.spec)
            return job.id

    def claim(self, limit: int = 8, worker: str = "w1", lease_seconds: float = 60.0) -> Claim | None:
        with self.database.write() as session:
            return leases.claim(
                session,
                model_id=self.model_id,
                model_name=self.spec.name,
                limit=limit,
                worker=worker,
                lease_seconds=lease_seconds,
            )

    def outcomes(self, lease: Claim) -> list[Outcome]:
        logits = np.tile([0.0, 1.0, 2.0], (len(lease.screenings), 1))
        predictions = self.spec.judge(self.spec.calibrate(logits))
        return [
            Outcome(image, prediction=prediction)
            for image, prediction in zip(lease.screenings, predictions, strict=True)
        ]

    def finish(self, lease: Claim, outcomes: list[Outcome] | None = None) -> int:
        with self.database.write() as session:
            return leases.finish(
                session,
                lease,
                outcomes or self.outcomes(lease),
                model_id=self.model_id,
                threshold=self.spec.threshold,
                worker="w1",
            )

    def sweep(self) -> leases.Swept:
        """Sweep where every lease that is held has run out."""
        with self.database.write() as session:
            return leases.sweep(session, leases.find_held(session), 3)

    def states(self, job_id: uuid.UUID) -> Counter:
        with self.database.read() as session:
            return Counter(session.scalars(select(Screening.state).where(Screening.job_id == job_id)))

    def rows(self, job_id: uuid.UUID) -> list[Screening]:
        with self.database.read() as session:
            return list(
                session.scalars(select(Screening).where(Screening.job_id == job_id).order_by(Screening.position))
            )

    def count_predictions(self) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(Prediction))


@pytest.fixture
def queue(database: Database, spec: ModelSpec, technician: User) -> Queue:
    return Queue(database, spec, technician)


def test_an_image_goes_from_queued_through_running_to_done(queue: Queue) -> None:
    job_id = queue.submit(images(3))
    assert queue.states(job_id) == {State.QUEUED: 3}
    lease = queue.claim()
    assert queue.states(job_id) == {State.RUNNING: 3}
    assert queue.finish(lease) == 3
    assert queue.states(job_id) == {State.DONE: 3}
    assert all(row.prediction_id and row.finished_at and row.lease_token is None for row in queue.rows(job_id))
    assert queue.claim() is None


def test_a_claim_takes_no_more_than_its_limit_in_the_order_of_the_job(queue: Queue) -> None:
    queue.submit(images(5))
    first, second = queue.claim(limit=3), queue.claim(limit=3)
    assert [int(image.sha256, 16) for image in first.screenings] == [0, 1, 2]
    assert [int(image.sha256, 16) for image in second.screenings] == [3, 4]


def test_finishing_twice_writes_once(queue: Queue) -> None:
    job_id = queue.submit(images(2))
    lease = queue.claim()
    assert queue.finish(lease) == 2
    before = [row.finished_at for row in queue.rows(job_id)]
    assert queue.finish(lease) == 0
    assert [row.finished_at for row in queue.rows(job_id)] == before
    assert queue.count_predictions() == 2


def test_a_rejected_image_says_why_and_the_rest_goes_on(queue: Queue) -> None:
    job_id = queue.submit(images(2))
    lease = queue.claim()
    good, bad = queue.outcomes(lease)
    bad = Outcome(bad.screening, rejection=ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=2))
    queue.finish(lease, [good, bad])
    done, rejected = queue.rows(job_id)
    assert done.state == State.DONE
    assert (rejected.state, rejected.error_code) == ("REJECTED", "several_images")
    assert rejected.error_details == {"case": "frames", "count": 2}


def test_interactive_goes_before_bulk(queue: Queue) -> None:
    queue.submit(images(4))
    urgent = queue.submit(images(1, start=100), Priority.INTERACTIVE)
    lease = queue.claim(limit=1)
    assert queue.states(urgent) == {State.RUNNING: 1}
    assert int(lease.screenings[0].sha256, 16) == 100


def test_interactive_images_are_taken_without_bulk_ones(queue: Queue) -> None:
    """Whoever waits for one image must not wait for a batch that it was taken with."""
    bulk = queue.submit(images(4))
    urgent = queue.submit(images(2, start=100), Priority.INTERACTIVE)
    assert len(queue.claim(limit=10).screenings) == 2
    assert queue.states(urgent) == {State.RUNNING: 2}
    assert len(queue.claim(limit=10).screenings) == 4
    assert queue.states(bulk) == {State.RUNNING: 4}


def test_a_large_job_does_not_starve_the_next(queue: Queue) -> None:
    queue.submit(images(50))
    for _ in range(2):
        queue.finish(queue.claim(limit=5))
    small = queue.submit(images(5, start=100))
    queue.finish(queue.claim(limit=10))
    assert queue.states(small) == {State.DONE: 5}


def test_a_small_job_does_not_starve_the_large_one(queue: Queue) -> None:
    large = queue.submit(images(50))
    for n in range(5):
        queue.submit(images(10, start=100 + 10 * n))
        queue.finish(queue.claim(limit=4))
    assert queue.states(large)[State.DONE] >= 5


def test_a_lease_that_ran_out_is_freed_by_the_sweep_and_its_image_is_tried_alone(queue: Queue) -> None:
    job_id = queue.submit(images(4))
    queue.claim(limit=2)
    assert queue.sweep() == leases.Swept(requeued=2, failed=0, waiting={queue.spec.name: 4})
    assert [row.attempts for row in queue.rows(job_id)] == [1, 1, 0, 0]
    assert len(queue.claim().screenings) == 1
    assert len(queue.claim().screenings) == 1
    assert len(queue.claim().screenings) == 2


def test_a_heartbeat_keeps_a_lease(queue: Queue) -> None:
    queue.submit(images(1))
    lease = queue.claim()
    with queue.database.write() as session:
        before = leases.find_held(session)
        assert leases.extend(session, lease.token, 60.0) == 1
        assert leases.sweep(session, before, 3).requeued == 0


def test_an_image_that_loses_three_workers_fails_alone_and_says_so(queue: Queue) -> None:
    job_id = queue.submit(images(2))
    queue.finish(queue.claim(limit=1))
    for _ in range(3):
        queue.claim()
        queue.sweep()
    done, failed = queue.rows(job_id)
    assert done.state == State.DONE
    assert (failed.state, failed.error_code, failed.attempts) == (State.FAILED, "worker_lost", 3)
    assert failed.error_details == {"attempts": 3}


def test_a_batch_given_back_counts_an_attempt(queue: Queue) -> None:
    job_id = queue.submit(images(1))
    lease = queue.claim()
    with queue.database.write() as session:
        leases.fail_attempts(session, lease, max_attempts=3)
    (row,) = queue.rows(job_id)
    assert (row.state, row.attempts, row.lease_token) == (State.QUEUED, 1, None)


def test_a_worker_that_wakes_after_its_lease_overwrites_nothing(queue: Queue) -> None:
    job_id = queue.submit(images(1))
    slow = queue.claim()
    queue.sweep()
    quick = queue.claim(worker="w2")
    assert queue.finish(quick) == 1
    (before,) = queue.rows(job_id)
    assert queue.finish(slow) == 0
    (after,) = queue.rows(job_id)
    assert (after.finished_at, after.prediction_id) == (before.finished_at, before.prediction_id)
    assert queue.count_predictions() == 1


def test_cancel_stops_what_waits_and_what_runs(queue: Queue) -> None:
    job_id = queue.submit(images(3))
    lease = queue.claim(limit=1)
    with queue.database.write() as session:
        assert jobs.cancel(session, job_id) == 3
    assert queue.finish(lease) == 0
    assert queue.states(job_id) == {State.CANCELLED: 3}
    assert queue.claim() is None


def test_retry_queues_what_did_not_end_well_but_not_what_was_never_stored(queue: Queue) -> None:
    refused = Received("empty.png", rejection=ImageRejected(Rejection.EMPTY_FILE))
    job_id = queue.submit([*images(2), refused])
    with queue.database.write() as session:
        jobs.cancel(session, job_id)
    with queue.database.write() as session:
        assert jobs.retry(session, job_id) == 2
    assert queue.states(job_id) == {State.QUEUED: 2, State.REJECTED: 1}
    assert queue.finish(queue.claim()) == 2


def test_of_few_images_half_are_left_for_another_worker(queue: Queue) -> None:
    queue.submit(images(100))
    assert [len(queue.claim(limit=32).screenings) for _ in range(5)] == [32, 32, 18, 9, 8]
    assert queue.claim(limit=32) is not None
    assert queue.claim(limit=32) is None


def test_a_cancelled_job_takes_no_more_images(queue: Queue) -> None:
    job_id = queue.submit(images(1))
    with queue.database.write() as session:
        jobs.cancel(session, job_id)
    with pytest.raises(JobClosed), queue.database.write() as session:
        jobs.add_images(session, job_id, images(1, start=5), queue.spec)


def test_the_same_image_is_stored_once_predicted_once_and_shown_in_each(queue: Queue) -> None:
    first = queue.submit(images(2) + images(2))
    lease = queue.claim()
    assert queue.finish(lease) == 4
    second = queue.submit(images(2))
    assert queue.states(second) == {State.DONE: 2}, "an answer that is known is given at once"
    shown = {row.prediction_id for row in queue.rows(first)} | {row.prediction_id for row in queue.rows(second)}
    assert len(shown) == queue.count_predictions() == 2


def test_an_image_answered_while_its_copy_waited_is_not_predicted_again(queue: Queue) -> None:
    queue.submit(images(1))
    queue.submit(images(1))
    queue.finish(queue.claim(limit=1))
    lease = queue.claim(limit=1)
    assert lease.screenings[0].prediction_id is not None
    assert queue.finish(lease, [Outcome(lease.screenings[0])]) == 1


def test_the_same_request_sent_again_adds_nothing(queue: Queue) -> None:
    job_id = queue.submit([], key="job-key")
    assert queue.submit([], key="job-key") == job_id
    for _ in range(2):
        with queue.database.write() as session:
            jobs.add_images(session, job_id, images(3), queue.spec, key=IdempotencyKey("part-1"))
    assert len(queue.rows(job_id)) == 3


def test_a_job_of_another_model_waits_for_its_own_worker(queue: Queue) -> None:
    job_id = queue.submit(images(1))
    with queue.database.write() as session:
        session.get(Job, job_id).model_name = "another"
    assert queue.claim() is None


def test_a_job_larger_than_one_statement_is_taken_whole(queue: Queue) -> None:
    job_id = queue.submit(images(2500))
    assert queue.states(job_id) == {State.QUEUED: 2500}


def test_eight_workers_at_once_claim_every_image_exactly_once(queue: Queue) -> None:
    queue.submit(images(160))
    seen: list[uuid.UUID] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while (lease := queue.claim(limit=7, worker=f"w{number}")) is not None:
                seen.extend(image.screening_id for image in lease.screenings)
                queue.finish(lease)
        except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Counter(Counter(seen).values()) == {1: 160}
    assert queue.count_predictions() == 160


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_claim_reads_an_index_and_does_not_sort(queue: Queue) -> None:
    """SQLite shows its plan; a plan that scans or sorts grows with the table."""
    queue.submit(images(20))
    seen = []
    event.listen(queue.database.engine, "before_cursor_execute", lambda *call: seen.append((call[2], call[3])))
    queue.claim()
    statement, values = next(call for call in seen if call[0].startswith("WITH picked"))
    with queue.database.engine.connect() as connection:
        plan = " / ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values))
    assert "ix_screenings_waiting" in plan
    assert "TEMP B-TREE" not in plan


def test_an_interactive_image_goes_before_bulk_images_that_lost_a_worker(queue: Queue) -> None:
    queue.submit(images(5))
    queue.claim()
    queue.sweep()
    queue.submit(images(1, start=100), Priority.INTERACTIVE)
    assert [int(image.sha256, 16) for image in queue.claim().screenings] == [100]
    assert [len(queue.claim().screenings) for _ in range(5)] == [1, 1, 1, 1, 1]


def test_images_handed_back_count_no_attempt(queue: Queue) -> None:
    job_id = queue.submit(images(2))
    with queue.database.write() as session:
        leases.release(session, queue_lease := queue_claim(session, queue))
    assert queue_lease.screenings
    assert [(row.state, row.attempts) for row in queue.rows(job_id)] == [(State.QUEUED, 0), (State.QUEUED, 0)]


def queue_claim(session, queue: Queue) -> Claim:
    return leases.claim(
        session, model_id=queue.model_id, model_name=queue.spec.name, limit=8, worker="w", lease_seconds=60.0
    )


def test_images_of_another_model_hold_up_nobody(queue: Queue) -> None:
    other = queue.submit(images(1))
    with queue.database.write() as session:
        session.get(Job, other).model_name = "another"
    running = queue.submit(images(40, start=100))
    queue.finish(queue.claim(limit=10))
    late = queue.submit(images(40, start=200))
    queue.finish(queue.claim(limit=10))
    assert queue.states(running)[State.DONE] >= 14, "both jobs advance side by side"
    assert queue.states(late)[State.DONE] >= 4
    assert queue.sweep().waiting == {queue.spec.name: 60, "another": 1}


def test_a_single_image_tried_again_does_not_wait_behind_its_old_place(queue: Queue) -> None:
    job_id = queue.submit(images(50))
    while (lease := queue.claim()) is not None:
        queue.finish(lease)
    with queue.database.write() as session:
        session.scalars(
            select(Screening).where(Screening.job_id == job_id, Screening.position == 49)
        ).one().state = State.FAILED
    queue.submit(images(20, start=100))
    with queue.database.write() as session:
        assert jobs.retry(session, job_id) == 1
    assert 49 in [int(image.sha256, 16) for image in queue.claim(limit=2).screenings]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_uploads_of_the_same_images_in_opposite_orders_both_end(queue: Queue) -> None:
    errors: list[BaseException] = []

    def submit(received: list[Received]) -> None:
        try:
            queue.submit(received)
        except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=submit, args=(order,)) for order in (images(1500), images(1500)[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_leases_last_as_long_as_asked(queue: Queue) -> None:
    job_id = queue.submit(images(1))
    queue.claim(lease_seconds=60.0)
    (row,) = queue.rows(job_id)
    assert abs(row.lease_until - row.started_at - timedelta(seconds=60)) < timedelta(seconds=1)
