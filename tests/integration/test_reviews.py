"""Reviews on both databases: nobody overwrites anybody, undo is a row, and screenings say what reviews amount to."""

import hashlib
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.accounts import users
from shared.db import Database, now
from shared.errors import KeyReused, NothingToWithdraw, NotReviewable, ReviewOutdated
from shared.idempotency import IdempotencyKey
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import Label, ModelSpec
from shared.queue import jobs, leases, retention
from shared.reviews import claims
from shared.reviews.reviews import NewReview, add_review, find_repeated, list_reviews, withdraw
from shared.reviews.standing import standing, state_of
from shared.states import State
from shared.tables import (
    Finding,
    Image,
    ImageClaim,
    Job,
    Priority,
    Review,
    ReviewOutcome,
    ReviewState,
    Role,
    Screening,
    Source,
    User,
)

AGREE, OVERRULE = ReviewOutcome.AGREE, ReviewOutcome.OVERRULE


class Room:
    """A database with images that were screened, and readers; no program runs."""

    def __init__(self, database: Database, spec: ModelSpec) -> None:
        self.database, self.spec = database, spec
        with database.write() as session:
            self.model_id = leases.register_model(session, spec)
            self.sender = users.add_user(session, f"tina-{uuid.uuid4().hex[:6]}", Role.TECHNICIAN)
            self.rita, self.ruth = (
                users.add_user(session, f"{name}-{uuid.uuid4().hex[:6]}", Role.READER) for name in ("rita", "ruth")
            )

    def submit(self, *numbers: int, model: str | None = None) -> uuid.UUID:
        received = [
            Received("x.png", image=AcceptedImage(hashlib.sha256(f"{n}".encode()).hexdigest(), 1, 64, 64, "image/png"))
            for n in numbers
        ]

        def write(session: Session) -> uuid.UUID:
            job = jobs.open_job(
                session, user_id=self.sender.id, name="a job", source=Source.API,
                model_name=model or self.spec.name, priority=Priority.BULK,
            )  # fmt: skip
            jobs.add_images(session, job.id, received, None)
            jobs.close_job(session, job.id)
            return job.id

        return self.database.transact(write)

    def cancel(self, job_id: uuid.UUID) -> None:
        self.database.transact(lambda session: jobs.cancel(session, job_id))

    def claim(self, limit: int = 100) -> leases.Claim | None:
        with self.database.write() as session:
            return leases.claim(
                session, model_id=self.model_id, model_name=self.spec.name, limit=limit, worker="w", lease_seconds=60
            )

    def fail(self) -> None:
        """Lose a worker with what it holds, once for all."""
        claim = self.claim()
        if claim is None:
            return
        with self.database.write() as session:
            leases.fail_attempts(session, claim, 1)

    def work(self, p_pneumonia: float = 0.9) -> None:
        import numpy as np

        claim = self.claim()
        if claim is None:
            return
        (prediction,) = self.spec.judge(np.array([[1 - p_pneumonia, p_pneumonia, 0.0]]))
        outcomes = [leases.Outcome(image, prediction=prediction) for image in claim.screenings]
        with self.database.write() as session:
            leases.finish(session, claim, outcomes, model_id=self.model_id, threshold=0.4, worker="w")

    def rows(self) -> list[Screening]:
        with self.database.read() as session:
            return list(session.scalars(select(Screening).order_by(Screening.id)))

    def newest(self, number: int = 1) -> Screening:
        sha256 = hashlib.sha256(f"{number}".encode()).hexdigest()
        with self.database.read() as session:
            query = select(Screening).join(Image).where(Image.sha256 == sha256).order_by(Screening.id.desc())
            return session.scalars(query).first()

    def add(
        self,
        user: User,
        *said: object,
        seen: uuid.UUID | None = None,
        key: IdempotencyKey | None = None,
        is_blind: bool = False,
    ) -> Review:
        screening, new = self.newest(), NewReview(*said, seen=seen)

        def write(session: Session) -> Review:
            known = find_repeated(session, user, screening, key)
            return known or add_review(session, user, screening, new, is_blind=is_blind, key=key)

        return self.database.transact(write)

    def undo(self, user: User) -> Review:
        screening = self.newest()
        return self.database.transact(lambda session: withdraw(session, user, screening))

    def reviews(self, number: int = 1) -> list[Review]:
        with self.database.read() as session:
            return list(list_reviews(session, hashlib.sha256(f"{number}".encode()).hexdigest()))

    def states(self) -> list[ReviewState]:
        return [row.review_state for row in self.rows()]


@pytest.fixture
def room(database: Database, spec: ModelSpec) -> Room:
    room = Room(database, spec)
    room.submit(1)
    room.work()
    return room


# ---------------------------------------------------------------- adding and undoing


def test_a_review_keeps_what_the_model_had_said(room: Room) -> None:
    room.add(room.rita, OVERRULE, Finding.VIRAL, "Both sides.")
    (review,) = room.reviews()
    assert (review.outcome, review.finding, review.note, review.number) == (OVERRULE, Finding.VIRAL, "Both sides.", 1)
    assert (review.model_name, review.model_version) == (room.spec.name, room.spec.identity)
    assert (review.label, review.p_pneumonia, review.threshold) == (Label.PNEUMONIA, pytest.approx(0.9), 0.4)
    assert room.states() == [ReviewState.DISAGREED]


def test_a_second_reader_sees_the_first_review_before_adding_one(room: Room) -> None:
    first = room.add(room.rita, AGREE)
    with pytest.raises(ReviewOutdated, match=room.rita.name):
        room.add(room.ruth, OVERRULE, Finding.NORMAL)
    room.add(room.ruth, OVERRULE, Finding.NORMAL, seen=first.id)
    assert [(r.user_id, r.outcome) for r in room.reviews()] == [(room.rita.id, AGREE), (room.ruth.id, OVERRULE)]
    assert room.states() == [ReviewState.DISAGREED]


def test_a_blind_reader_adds_without_having_seen_the_first_review(room: Room) -> None:
    room.add(room.rita, AGREE)
    assert room.add(room.ruth, AGREE, Finding.BACTERIAL, is_blind=True).is_blind
    assert room.states() == [ReviewState.READ]


def test_readers_change_their_own_minds_without_having_seen_themselves(room: Room) -> None:
    room.add(room.rita, AGREE)
    room.add(room.rita, OVERRULE, Finding.NORMAL)
    assert [r.number for r in room.reviews()] == [1, 2]
    assert len(standing(room.reviews())) == 1


def test_undo_is_a_row_and_takes_back_what_its_reader_said(room: Room) -> None:
    first = room.add(room.rita, AGREE)
    room.add(room.ruth, OVERRULE, Finding.NORMAL, seen=first.id)
    room.undo(room.ruth)
    assert [r.outcome for r in room.reviews()] == [AGREE, OVERRULE, ReviewOutcome.WITHDRAWN]
    assert room.states() == [ReviewState.READ]
    with pytest.raises(NothingToWithdraw):
        room.undo(room.ruth)


def test_a_key_adds_one_review(room: Room) -> None:
    key = IdempotencyKey("again", "d1")
    first = room.add(room.rita, AGREE, key=key)
    assert room.add(room.rita, AGREE, key=key).id == first.id
    with pytest.raises(KeyReused):
        room.add(room.rita, OVERRULE, Finding.NORMAL, key=IdempotencyKey("again", "d2"))
    assert len(room.reviews()) == 1
    assert room.add(room.ruth, AGREE, seen=first.id, key=key).user_id == room.ruth.id


def test_what_no_model_has_answered_can_be_called_inadequate_but_not_agreed_with(room: Room) -> None:
    room.submit(1, model="a model that nobody serves")
    with pytest.raises(NotReviewable, match="nothing to agree with"):
        room.add(room.rita, AGREE)
    assert room.add(room.rita, ReviewOutcome.INADEQUATE).label is None
    assert set(room.states()) == {ReviewState.INADEQUATE}


def test_a_file_that_was_never_kept_cannot_be_reviewed(room: Room) -> None:
    with room.database.write() as session:
        session.execute(update(Screening).values(image_id=None))
        screening = session.scalars(select(Screening)).one()
    with pytest.raises(NotReviewable, match="not kept"), room.database.write() as session:
        add_review(session, room.rita, screening, NewReview(AGREE))


# ---------------------------------------------------------------- the same image again


def test_an_image_that_comes_again_keeps_its_reviews_and_has_one_latest_screening(room: Room) -> None:
    room.add(room.rita, AGREE)
    room.submit(1, 1, 2)
    assert [(row.is_latest, row.review_state) for row in room.rows()] == [
        (True, ReviewState.READ), (False, ReviewState.READ), (False, ReviewState.READ), (True, ReviewState.UNREAD),
    ], "what waits takes nothing away yet"  # fmt: skip
    room.work()
    assert [row.is_latest for row in room.rows()] == [False, False, True, True]


def test_sending_an_image_again_and_cancelling_that_takes_nothing_from_the_lists(room: Room) -> None:
    again = room.submit(1)
    assert [row.is_latest for row in room.rows()] == [True, False]
    room.cancel(again)
    assert [(row.state, row.is_latest) for row in room.rows()] == [(State.DONE, True), (State.CANCELLED, False)]


def test_an_image_that_waits_twice_is_answered_once_and_listed_though_the_newer_one_is_cancelled(room: Room) -> None:
    room.submit(2)
    again = room.submit(2)
    assert [row.is_latest for row in room.rows()] == [True, False, True]
    room.cancel(again)
    assert [row.is_latest for row in room.rows()] == [True, True, False]
    room.work()
    assert [(row.label is None, row.is_latest) for row in room.rows()] == [(False, True), (False, True), (True, False)]


def test_what_fails_gives_the_flag_back_and_takes_it_once_it_is_answered(room: Room) -> None:
    again = room.submit(1)
    room.fail()
    assert [(row.state, row.is_latest) for row in room.rows()] == [(State.DONE, True), (State.FAILED, False)]
    with room.database.write() as session:
        assert jobs.retry(session, again) == 1
    assert [row.is_latest for row in room.rows()] == [True, False]
    room.work()
    assert [row.is_latest for row in room.rows()] == [False, True]


def test_leases_that_run_out_for_good_give_the_flag_back(room: Room) -> None:
    room.submit(2)
    room.submit(2)
    older, newer = room.claim(1), room.claim(1)
    assert [image.screening_id for image in older.screenings] == [room.rows()[1].id]
    with room.database.write() as session:
        held = leases.find_held(session)
        assert leases.sweep(session, {newer.token: held[newer.token]}, 1).failed == 1
    assert [row.is_latest for row in room.rows()] == [True, True, False]


def test_each_model_has_a_latest_screening_of_its_own(room: Room) -> None:
    room.submit(1, model="another")
    assert [row.is_latest for row in room.rows()] == [True, True]


def test_deleting_the_latest_job_makes_the_one_before_the_latest_again(room: Room) -> None:
    room.add(room.rita, AGREE)
    again = room.submit(1)
    room.work()
    assert [row.is_latest for row in room.rows()] == [False, True]
    retention.delete_job(room.database, again, lambda _session: None)
    assert [(row.is_latest, row.review_state) for row in room.rows()] == [(True, ReviewState.READ)]
    assert len(room.reviews()) == 1, "a review belongs to the image"


def test_reviews_and_claims_go_with_the_last_screening_of_their_image(room: Room) -> None:
    room.add(room.rita, AGREE)
    with room.database.write() as session:
        claims.claim(session, room.rita, room.reviews()[0].image_sha256)
        (job_id,) = session.scalars(select(Job.id))
    retention.delete_job(room.database, job_id, lambda _session: None)
    with room.database.read() as session:
        assert [session.scalars(select(table)).all() for table in (Image, Review, ImageClaim)] == [[], [], []]


READERS = st.sampled_from(["rita", "ruth"])
SAID = st.sampled_from([OVERRULE, ReviewOutcome.INADEQUATE, ReviewOutcome.SECOND_READER])
NUMBER = st.integers(1, 2)
OPERATIONS = st.one_of(
    st.tuples(st.just("submit"), st.lists(NUMBER, min_size=1, max_size=3), st.sampled_from(["test-model", "b"])),
    st.tuples(st.sampled_from(["delete", "cancel", "retry"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["work", "fail"])),
    st.tuples(st.just("add"), READERS, SAID, NUMBER),
    st.tuples(st.just("undo"), READERS, NUMBER),
)


@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, min_size=3, max_size=12))
def test_whatever_comes_screenings_say_what_is_latest_and_what_reviews_amount_to(
    sqlite_database: Database, spec: ModelSpec, operations: list[tuple]
) -> None:
    room = Room(sqlite_database, spec)
    sent = [room.submit(1)]
    room.work()
    try:
        for name, *arguments in operations:
            do(room, sent, name, arguments)
            check(room)
    finally:
        for job_id in sent:
            remove(room, job_id)


def do(room: Room, sent: list[uuid.UUID], name: str, arguments: list) -> None:
    """One act; what cannot be done at this moment is not."""
    if name == "submit":
        numbers, model = arguments
        sent.append(room.submit(*numbers, model=model))
    elif name == "delete" and sent:
        remove(room, sent.pop(arguments[0] % len(sent)))
    elif name == "cancel" and sent:
        room.cancel(sent[arguments[0] % len(sent)])
    elif name == "retry" and sent:
        room.database.transact(lambda session: jobs.retry(session, sent[arguments[0] % len(sent)]))
    elif name in {"work", "fail"}:
        getattr(room, name)()
    elif name in {"add", "undo"} and (screening := room.newest(arguments[-1])) is not None:
        user = getattr(room, arguments[0])
        before = room.reviews(arguments[-1])
        if name == "add":
            new = NewReview(arguments[1], seen=before[-1].id if before else None)
            room.database.transact(lambda session: add_review(session, user, screening, new))
        elif any(review.user_id == user.id for review in standing(before)):
            room.database.transact(lambda session: withdraw(session, user, screening))


def remove(room: Room, job_id: uuid.UUID) -> None:
    with room.database.write() as session:
        jobs.cancel(session, job_id)
    retention.delete_job(room.database, job_id, lambda _session: None)


def check(room: Room) -> None:
    with room.database.read() as session:
        rows = session.execute(select(Screening, Job.model_name, Image.sha256).join(Job).join(Image)).all()
        reviews = {sha256: list_reviews(session, sha256) for *_, sha256 in rows}
    of_image: dict[tuple[str, str], list[Screening]] = {}
    for screening, model, sha256 in rows:
        of_image.setdefault((sha256, model), []).append(screening)
    for screening, model, sha256 in rows:
        assert screening.is_latest == (screening is latest_of(of_image[sha256, model]))
        assert screening.review_state is state_of(reviews[sha256])


def latest_of(screenings: list[Screening]) -> Screening:
    """Return the newest with an outcome; else the newest that waits; else the newest."""
    answered = [one for one in screenings if one.state in {State.DONE, State.REJECTED}]
    waiting = [one for one in screenings if one.state in {State.QUEUED, State.RUNNING}]
    return max(answered or waiting or screenings, key=lambda one: one.id)


# ---------------------------------------------------------------- at the same time


def at_once(*works: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return work()
        except (ReviewOutdated, NothingToWithdraw) as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(start, works))


def test_of_two_first_reviews_at_the_same_time_one_is_told_of_the_other(room: Room) -> None:
    done = at_once(lambda: room.add(room.rita, AGREE), lambda: room.add(room.ruth, OVERRULE, Finding.NORMAL))
    assert sorted(type(one).__name__ for one in done) == ["Review", "ReviewOutdated"]
    assert len(room.reviews()) == 1


def test_the_same_image_sent_at_the_same_time_has_one_latest_screening(room: Room) -> None:
    at_once(*[lambda: room.submit(1, 2)] * 4)
    assert sum(row.is_latest for row in room.rows()) == 2


def test_whatever_happens_to_one_image_at_the_same_time_it_has_one_latest_screening(room: Room) -> None:
    for _ in range(5):
        cancelled, removed = room.submit(1, 2), room.submit(1, 2)
        at_once(
            room.work,
            lambda job_id=cancelled: room.cancel(job_id),
            lambda job_id=removed: remove(room, job_id),
            lambda: room.submit(2, 1),
        )
        check(room)


# ---------------------------------------------------------------- who has it open


def test_a_claim_is_seen_by_others_until_it_runs_out_or_is_released(room: Room) -> None:
    sha256 = hashlib.sha256(b"1").hexdigest()

    def seen() -> list[str]:
        with room.database.read() as session:
            assert claims.claims_of_others(session, room.rita, [sha256]) == []
            return [claim.user.name for claim in claims.claims_of_others(session, room.ruth, [sha256])]

    for _ in range(2):
        with room.database.write() as session:
            claims.claim(session, room.rita, sha256)
    assert seen() == [room.rita.name]
    with room.database.write() as session:
        session.execute(update(ImageClaim).values(expires_at=now() - timedelta(seconds=1)))
    assert seen() == []
    with room.database.write() as session:
        claims.claim(session, room.rita, sha256)
    assert seen() == [room.rita.name]
    with room.database.write() as session:
        claims.release(session, room.rita, sha256)
    assert seen() == []
