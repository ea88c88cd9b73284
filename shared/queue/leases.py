"""Leases: the workers' operations on the durable queue. Rows are the truth; only the lease's holder may write them."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, select, update
from sqlalchemy.orm import Session

from shared.db import insert_new, new_id, now, row_count
from shared.errors import ImageRejected
from shared.images.exposure import Exposure
from shared.messages.events import note_flagged
from shared.models.spec import ModelPrediction, ModelSpec
from shared.refusals import Failure
from shared.reviews import latest
from shared.states import Event, State, sources, target
from shared.tables import Image, Job, Model, Prediction, Priority, Screening, in_states, prediction_copies

_Waiting = Select[uuid.UUID, int, int, int]
"""Id, attempts, priority and turn of waiting images."""

FEWEST_SHARED = 8
"""Fewer images than this are not shared between workers."""

_COPY = "copied_"
"""Prefix of bound values: SQLAlchemy reserves the bare column names."""


@dataclass(frozen=True)
class ClaimedScreening:
    """One screening that a worker holds."""

    screening_id: uuid.UUID
    image_id: uuid.UUID
    sha256: str
    prediction_id: uuid.UUID | None
    """Set where this model has predicted this image before."""


@dataclass(frozen=True)
class Claim:
    """A micro-batch under one lease."""

    token: uuid.UUID
    screenings: tuple[ClaimedScreening, ...]


@dataclass(frozen=True)
class Outcome:
    """The outcome of one claimed image: a prediction, an earlier prediction, or a rejection."""

    screening: ClaimedScreening
    prediction: ModelPrediction | None = None
    rejection: ImageRejected | None = None
    heat_map: bytes | None = None
    """Heat map of a prediction whose model shows where it saw evidence."""
    exposure: Exposure | None = None
    """Of the image as the model saw it, kept with a prediction."""


@dataclass(frozen=True)
class Swept:
    """What one sweep freed and counted."""

    requeued: int
    failed: int
    waiting: dict[str, int]
    """Images that wait, by model."""


def register_model(session: Session, spec: ModelSpec) -> uuid.UUID:
    """Ensure that these exact weights with this calibration have a row, and return its id."""
    row = {"id": new_id(), "name": spec.name, "sha256": spec.identity, "spec": spec.model_dump(mode="json")}
    insert_new(session, Model, [{**row, "created_at": now()}])
    return session.scalars(select(Model.id).where(Model.name == spec.name, Model.sha256 == spec.identity)).one()


def claim(
    session: Session, *, model_id: uuid.UUID, model_name: str, limit: int, worker: str, lease_seconds: float
) -> Claim | None:
    """Claim up to `limit` waiting images under one lease, interactive before bulk; None where nothing waits.

    An image that lost a worker before is claimed alone, so that a poison image fails alone. Interactive images are
    claimed without bulk ones, so that nobody waiting for them waits for these. Of few bulk images half are left for
    another worker, so that all workers finish together.
    """
    token = new_id()
    until = now() + timedelta(seconds=lease_seconds)
    waiting = _waiting(model_name)
    head = session.execute(_locked(waiting.limit(1))).one_or_none()
    if head is None:
        return None
    if head.attempts > 0:
        chosen = waiting.where(Screening.id == head.id)
    else:
        # From the head on, so that images ahead that wait for other models are scanned once and not three times.
        beside = (Screening.priority == head.priority, Screening.turn >= head.turn)
        chosen = waiting.where(Screening.attempts == 0, *beside)
        chosen = chosen.limit(_fair_share(session, chosen, limit) if head.priority == Priority.BULK else limit)
    ids = _take(session, _locked(chosen), token=token, worker=worker, until=until)
    return Claim(token, _claimed_screenings(session, ids, model_id)) if ids else None


def _waiting(model_name: str) -> _Waiting:
    """Select the images that wait for a model, in serving order."""
    return (
        select(Screening.id, Screening.attempts, Screening.priority, Screening.turn)
        .join(Job)
        .where(in_states(sources(Event.CLAIM)), Job.model_name == model_name)
        .order_by(Screening.priority, Screening.turn, Screening.id)
    )


def _locked(screenings: _Waiting) -> _Waiting:
    return screenings.with_for_update(skip_locked=True, of=Screening)


def _fair_share(session: Session, waiting: _Waiting, limit: int) -> int:
    """Return how many images to claim: `limit` while twice as many wait, then half of them.

    At least FEWEST_SHARED and an eighth of `limit`: even the smallest batch costs the database some milliseconds.
    """
    left = session.scalar(select(func.count()).select_from(waiting.limit(2 * limit).subquery())) or 0
    return min(limit, max(FEWEST_SHARED, limit // 8, (left + 1) // 2))


def _take(
    session: Session,
    chosen: _Waiting,
    *,
    token: uuid.UUID,
    worker: str,
    until: datetime,
) -> Sequence[uuid.UUID]:
    # A CTE, not a plain subquery: PostgreSQL may run a locking subquery more than once and so exceed the limit.
    picked = chosen.cte("picked")
    statement = (
        update(Screening)
        .where(Screening.id.in_(select(picked.c.id)))
        .values(
            state=target(Event.CLAIM),
            lease_token=token,
            lease_until=until,
            worker=worker,
            started_at=now(),
        )
        .returning(Screening.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalars(statement).all()


def _claimed_screenings(
    session: Session, ids: Sequence[uuid.UUID], model_id: uuid.UUID
) -> tuple[ClaimedScreening, ...]:
    answered = and_(Prediction.image_id == Image.id, Prediction.model_id == model_id)
    rows = session.execute(
        select(Screening.id, Image.id, Image.sha256, Prediction.id)
        .join(Image, Screening.image_id == Image.id)
        .outerjoin(Prediction, answered)
        .where(Screening.id.in_(ids))
        .order_by(Screening.turn, Screening.id)
    )
    return tuple(ClaimedScreening(*row) for row in rows)


def extend(session: Session, token: uuid.UUID, lease_seconds: float) -> int:
    """Extend a lease and return how many images it still holds."""
    return row_count(
        session.execute(
            update(Screening)
            .where(Screening.lease_token == token, in_states([State.RUNNING]))
            .values(lease_until=now() + timedelta(seconds=lease_seconds))
        )
    )


def finish(
    session: Session, lease: Claim, outcomes: Sequence[Outcome], *, model_id: uuid.UUID, threshold: float, worker: str
) -> int:
    """Write a micro-batch's outcomes and return how many images were settled.

    Idempotent: a prediction is unique for (image, model), and images whose lease passed to another worker are skipped.
    """
    # An image whose job was cancelled and deleted meanwhile is gone; locks keep the others until this commits.
    there = set(latest.hold_images(session, {o.screening.sha256 for o in outcomes}).values())
    _write_predictions(session, [o for o in outcomes if o.screening.image_id in there], model_id, threshold, worker)
    answers = _answers(session, model_id, {o.screening.image_id for o in outcomes if o.rejection is None})
    settled = _settle(session, lease, Event.FINISH, [
        {"screening": o.screening.screening_id, **answers[o.screening.image_id]}
        for o in outcomes if o.screening.image_id in answers
    ])  # fmt: skip
    rejected = _settle(session, lease, Event.REJECT, [
        {"screening": o.screening.screening_id, "code": o.rejection.code.value, "details": o.rejection.details or None}
        for o in outcomes if o.rejection is not None
    ])  # fmt: skip
    risen: dict[uuid.UUID, list[uuid.UUID]] = {}
    for outcome in outcomes:
        risen.setdefault(outcome.screening.image_id, []).append(outcome.screening.screening_id)
    latest.choose(session, risen, risen)
    note_flagged(session, [o.screening.screening_id for o in outcomes if o.rejection is None])
    return settled + rejected


def _write_predictions(
    session: Session, outcomes: Sequence[Outcome], model_id: uuid.UUID, threshold: float, worker: str
) -> None:
    at = now()
    rows = {
        o.screening.image_id: {
            "id": new_id(),
            "image_id": o.screening.image_id,
            "model_id": model_id,
            **o.prediction._asdict(),
            "threshold": threshold,
            "heat_map": o.heat_map,
            "brightness": o.exposure.brightness if o.exposure else None,
            "contrast": o.exposure.contrast if o.exposure else None,
            "worker": worker,
            "created_at": at,
        }
        # Sorted, as in shared.queue.jobs: two workers with the same images must not deadlock.
        for o in sorted(outcomes, key=lambda outcome: outcome.screening.image_id)
        if o.prediction is not None
    }
    insert_new(session, Prediction, list(rows.values()))


def _answers(session: Session, model_id: uuid.UUID, images: Collection[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """Return the columns a screening copies from each image's prediction, by image; another worker's may be first."""
    copies = [column.label(_COPY + name) for name, column in prediction_copies().items()]
    asked = select(Prediction.image_id, *copies).where(Prediction.model_id == model_id, Prediction.image_id.in_(images))
    rows = [dict(row) for row in session.execute(asked).mappings()]
    return {row.pop("image_id"): row for row in rows}


def _settle(session: Session, lease: Claim, event: Event, rows: list[dict[str, Any]]) -> int:
    if not rows:
        return 0
    table = Screening.__table__
    (source,) = sources(event)
    values: dict[str, Any] = {"state": target(event), "finished_at": now(), "lease_token": None, "lease_until": None}
    if event is Event.FINISH:
        # Values, not a join with the predictions: this takes a quarter of the time on SQLite.
        values |= {name: bindparam(_COPY + name) for name in prediction_copies()}
        values |= {"error_code": None, "error_details": None}
    else:
        values |= {"error_code": bindparam("code"), "error_details": bindparam("details")}
    statement = (
        update(Screening)
        .where(table.c.id == bindparam("screening"), table.c.lease_token == lease.token)
        .where(table.c.state == source)
        .values(values)
    )
    return row_count(session.connection().execute(statement, rows))


def release(session: Session, lease: Claim) -> None:
    """Release a lease's images where neither an image nor a worker is to blame; no attempt is counted."""
    session.execute(
        update(Screening)
        .where(Screening.lease_token == lease.token, in_states(sources(Event.LOSE)))
        .values(state=target(Event.LOSE), lease_token=None, lease_until=None)
    )


def fail_attempts(session: Session, lease: Claim, max_attempts: int) -> None:
    """Release a lease's images after its worker failed; counts as an attempt."""
    _lose(session, Screening.lease_token == lease.token, max_attempts)


def fail_attempt(session: Session, lease: Claim, screenings: Collection[ClaimedScreening], max_attempts: int) -> None:
    """Release the images of a lease whose file cannot be read; counts as an attempt of these alone."""
    ids = [screening.screening_id for screening in screenings]
    which = and_(Screening.lease_token == lease.token, Screening.id.in_(ids))
    _lose(session, which, max_attempts, Failure.IMAGE_UNREADABLE)


def find_held(session: Session) -> dict[uuid.UUID, datetime]:
    """Return every lease that holds images, with its expiry time, which each extension moves."""
    running = select(Screening.lease_token, func.max(Screening.lease_until)).where(in_states([State.RUNNING]))
    rows = session.execute(running.group_by(Screening.lease_token))
    return {token: until for token, until in rows if token and until}


def sweep(session: Session, run_out: Mapping[uuid.UUID, datetime], max_attempts: int) -> Swept:
    """Free expired leases, as returned by `find_held`, and count how many images wait for each model.

    A lease extended since is left alone.
    """
    requeued, failed = 0, 0
    # All at once and so in one order, though each lease is freed by itself.
    latest.hold_images_of(session, Screening.lease_token.in_(run_out), *_fails(max_attempts), only_flagged=True)
    for token, until in run_out.items():
        lost = _lose(session, and_(Screening.lease_token == token, Screening.lease_until == until), max_attempts)
        requeued, failed = requeued + lost[0], failed + lost[1]
    return Swept(requeued, failed, count_waiting(session))


def count_waiting(session: Session) -> dict[str, int]:
    """Count the images that wait for a worker, by model."""
    by_job = select(Screening.job_id, func.count().label("screenings")).where(in_states([State.QUEUED]))
    waiting = by_job.group_by(Screening.job_id).subquery()
    by_model = select(Job.model_name, func.sum(waiting.c.screenings)).join(waiting, waiting.c.job_id == Job.id)
    return {model: int(screenings) for model, screenings in session.execute(by_model.group_by(Job.model_name))}


def _lose(
    session: Session,
    which: ColumnElement[bool],
    max_attempts: int,
    code: Failure = Failure.WORKER_LOST,
) -> tuple[int, int]:
    freed: dict[str, Any] = {"attempts": Screening.attempts + 1, "lease_token": None, "lease_until": None}
    held = update(Screening).where(which).execution_options(synchronize_session=False)
    images = latest.hold_images_of(session, which, *_fails(max_attempts), only_flagged=True)
    failed = held.where(*_fails(max_attempts)).values(
        **freed,
        state=target(Event.FAIL),
        error_code=code.value,
        error_details={"attempts": max_attempts},
        finished_at=now(),
    )
    requeued = held.where(in_states(sources(Event.LOSE))).values(**freed, state=target(Event.LOSE))
    count_failed = row_count(session.execute(failed))
    latest.choose(session, images)
    return row_count(session.execute(requeued)), count_failed


def _fails(max_attempts: int) -> tuple[ColumnElement[bool], ...]:
    """Match a lease's images that fail when lost once more."""
    return in_states(sources(Event.FAIL)), Screening.attempts + 1 >= max_attempts
