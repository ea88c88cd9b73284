"""The queue as a state machine: whatever is called in whatever order, rows stand where a model of them says."""

import hashlib
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import func, select

from shared.db import Database
from shared.errors import ImageRejected
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import ModelSpec
from shared.queue import jobs, leases
from shared.queue.leases import Claim, ClaimedScreening, Outcome
from shared.refusals import Rejection
from shared.states import State
from shared.tables import Image, Prediction, Priority, Screening, Source, User

pytestmark = pytest.mark.timeout(600)

CONTENTS = 12
MOST_ATTEMPTS = 3
HELD = (State.QUEUED, State.RUNNING)
RETRIED = (State.FAILED, State.CANCELLED)


@dataclass
class Expected:
    """Where one screening has to stand."""

    job: uuid.UUID
    content: str
    interactive: bool
    state: State
    attempts: int = 0
    lease: uuid.UUID | None = None

    def end(self, state: State) -> None:
        self.state, self.lease = state, None


@dataclass
class Look:
    """What a sweep saw of the leases, and each lease's count of heartbeats then."""

    until: dict[uuid.UUID, datetime] = field(default_factory=dict)
    beats: Counter = field(default_factory=Counter)


class QueueMachine(RuleBasedStateMachine):
    """Submit, claim, finish, reject, release, fail, sweep, cancel and retry, beside what has to come of them."""

    submitted: Bundle = Bundle("submitted")
    claimed: Bundle = Bundle("claimed")

    def __init__(self, database: Database, spec: ModelSpec, user: User) -> None:
        super().__init__()
        # A model of its own keeps the examples on one database apart.
        self.database, self.user = database, user
        self.spec = spec.model_copy(update={"name": f"model-{uuid.uuid4()}", "sha256": uuid.uuid4().hex * 2})
        self.rows: dict[uuid.UUID, Expected] = {}
        self.answered: set[str] = set()
        self.beats: Counter = Counter()
        self.seen = Look()
        with database.write() as session:
            self.model_id = leases.register_model(session, self.spec)

    def image(self, number: int) -> Received:
        sha256 = hashlib.sha256(f"{self.spec.name} {number}".encode()).hexdigest()
        return Received(f"{number}.png", image=AcceptedImage(sha256, 1, 64, 64, "image/png"))

    @rule(
        target=submitted, numbers=st.lists(st.integers(0, CONTENTS - 1), min_size=1, max_size=6), urgent=st.booleans()
    )
    def submit(self, numbers: list[int], urgent: bool) -> uuid.UUID:
        received = [self.image(number) for number in numbers]
        expected = [State.DONE if item.image.sha256 in self.answered else State.QUEUED for item in received]
        with self.database.write() as session:
            job = jobs.open_job(
                session,
                user_id=self.user.id,
                name="a job",
                source=Source.API,
                model_name=self.spec.name,
                priority=Priority.INTERACTIVE if urgent else Priority.BULK,
            )
            waiting = jobs.add_images(session, job.id, received, self.spec).queued
            order = select(Screening.id).where(Screening.job_id == job.id).order_by(Screening.position)
            ids = list(session.scalars(order))
        assert waiting == expected.count(State.QUEUED)
        for screening_id, item, state in zip(ids, received, expected, strict=True):
            self.rows[screening_id] = Expected(job.id, item.image.sha256, urgent, state)
        return job.id

    @rule(target=claimed, limit=st.integers(1, 5))
    def claim(self, limit: int):
        with self.database.write() as session:
            lease = leases.claim(
                session,
                model_id=self.model_id,
                model_name=self.spec.name,
                limit=limit,
                worker="w",
                lease_seconds=60.0,
            )
        waiting = [row for row in self.rows.values() if row.state is State.QUEUED]
        if lease is None:
            assert waiting == [], "what waits is given to whoever asks"
            return multiple()
        taken = [self.rows[image.screening_id] for image in lease.screenings]
        assert {row.state for row in taken} == {State.QUEUED}, "nobody else holds it"
        assert len({image.screening_id for image in lease.screenings}) == len(taken) <= limit
        assert len(taken) == 1 or not any(row.attempts for row in taken), "an image that lost a worker is tried alone"
        assert taken[0].interactive or not any(row.interactive for row in waiting), "interactive goes first"
        for image, row in zip(lease.screenings, taken, strict=True):
            assert (image.prediction_id is not None) == (row.content in self.answered)
            row.state, row.lease = State.RUNNING, lease.token
        return lease

    def held_by(self, lease: Claim) -> list[Expected]:
        return [row for row in self.rows.values() if row.lease == lease.token]

    @rule(lease=claimed, refused=st.sets(st.integers(0, 4)))
    def finish(self, lease: Claim, refused: set[int]) -> None:
        outcomes = [self.outcome(image, number in refused) for number, image in enumerate(lease.screenings)]
        held = self.held_by(lease)
        with self.database.write() as session:
            settled = leases.finish(session, lease, outcomes, model_id=self.model_id, threshold=0.5, worker="w")
        assert settled == len(held), "whoever lost the lease settles nothing"
        for outcome in outcomes:
            row = self.rows[outcome.screening.screening_id]
            if outcome.prediction is not None:
                self.answered.add(outcome.screening.sha256)
            if row in held:
                row.end(State.REJECTED if outcome.rejection else State.DONE)

    def outcome(self, image: ClaimedScreening, is_refused: bool) -> Outcome:
        if image.prediction_id is not None:
            return Outcome(image)
        if is_refused:
            return Outcome(image, rejection=ImageRejected(Rejection.TRUNCATED_IMAGE))
        return Outcome(image, prediction=self.spec.judge(self.spec.calibrate(np.zeros((1, 3))))[0])

    @rule(lease=claimed)
    def beat(self, lease: Claim) -> None:
        with self.database.write() as session:
            assert leases.extend(session, lease.token, 60.0) == len(self.held_by(lease))
        self.beats[lease.token] += 1

    @rule(lease=claimed)
    def fail_attempts(self, lease: Claim) -> None:
        with self.database.write() as session:
            leases.fail_attempts(session, lease, MOST_ATTEMPTS)
        for row in self.held_by(lease):
            self.lose(row)

    @rule(lease=claimed)
    def release(self, lease: Claim) -> None:
        with self.database.write() as session:
            leases.release(session, lease)
        for row in self.held_by(lease):
            row.end(State.QUEUED)

    def lose(self, row: Expected) -> None:
        row.attempts += 1
        row.end(State.FAILED if row.attempts >= MOST_ATTEMPTS else State.QUEUED)

    @rule()
    def look(self) -> None:
        own = {row.lease for row in self.rows.values()}
        with self.database.read() as session:
            until = {token: at for token, at in leases.find_held(session).items() if token in own}
        assert set(until) == own - {None}
        self.seen = Look(until, Counter(self.beats))

    @rule(chosen=st.sets(st.integers(0, 3)))
    def sweep(self, chosen: set[int]) -> None:
        run_out = {token: at for number, (token, at) in enumerate(self.seen.until.items()) if number in chosen}
        silent = {token for token in run_out if self.beats[token] == self.seen.beats[token]}
        lost = [row for row in self.rows.values() if row.lease in silent]
        with self.database.write() as session:
            swept = leases.sweep(session, run_out, MOST_ATTEMPTS)
        for row in lost:
            self.lose(row)
        failed = sum(row.state is State.FAILED for row in lost)
        waiting = sum(row.state is State.QUEUED for row in self.rows.values())
        assert (swept.requeued, swept.failed) == (len(lost) - failed, failed)
        assert swept.waiting.get(self.spec.name, 0) == waiting

    @rule(job_id=submitted)
    def cancel(self, job_id: uuid.UUID) -> None:
        stopped = [row for row in self.rows.values() if row.job == job_id and row.state in HELD]
        with self.database.write() as session:
            assert jobs.cancel(session, job_id) == len(stopped)
        for row in stopped:
            row.end(State.CANCELLED)

    @rule(job_id=submitted)
    def retry(self, job_id: uuid.UUID) -> None:
        # What was refused would be refused again.
        again = [row for row in self.rows.values() if row.job == job_id and row.state in RETRIED]
        with self.database.write() as session:
            assert jobs.retry(session, job_id) == len(again)
        for row in again:
            row.attempts = 0
            row.end(State.QUEUED)

    @invariant()
    def rows_stand_where_they_have_to(self) -> None:
        chosen = select(Screening).where(Screening.job_id.in_({row.job for row in self.rows.values()}))
        with self.database.read() as session:
            rows = {row.id: row for row in session.scalars(chosen)} if self.rows else {}
        found = {key: (row.state, row.attempts, row.lease_token) for key, row in rows.items()}
        assert found == {key: (row.state, row.attempts, row.lease) for key, row in self.rows.items()}
        for row in rows.values():
            assert (row.prediction_id is not None) == (row.state is State.DONE)
            assert (row.error_code is not None) == (row.state in {State.FAILED, State.REJECTED})

    @invariant()
    def an_image_has_one_answer(self) -> None:
        counted = select(Image.sha256, func.count()).join(Prediction).where(Prediction.model_id == self.model_id)
        with self.database.read() as session:
            answers = dict(session.execute(counted.group_by(Image.sha256)).all())
        assert answers == dict.fromkeys(self.answered, 1)


def test_rows_stand_where_a_model_of_the_queue_says(database: Database, spec: ModelSpec, technician: User) -> None:
    run_state_machine_as_test(
        lambda: QueueMachine(database, spec, technician),
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
