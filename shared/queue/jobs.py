"""Jobs: the users' operations on the durable queue: submit, close, cancel, retry. Workers use `leases`."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.orm import Session

from shared.db import in_parts, insert_new, new_id, now, row_count
from shared.errors import ImageRejected, JobClosed
from shared.idempotency import IdempotencyKey
from shared.intake.accept import AcceptedImage, Received
from shared.messages.events import note_flagged
from shared.models.spec import ModelSpec
from shared.queue.duplicates import leave_out_held
from shared.refusals import MAY_CHANGE
from shared.reviews import latest
from shared.states import Event, State, sources, target
from shared.tables import (
    Image,
    Job,
    Model,
    Prediction,
    Priority,
    ReviewState,
    Screening,
    Source,
    Upload,
    in_states,
    prediction_copies,
)

_NO_ANSWER: Final[dict[str, Any]] = dict.fromkeys(prediction_copies())


@dataclass(frozen=True)
class Added:
    """The result of adding one request's files to a job."""

    received: Sequence[Received]
    """The files that got rows."""
    queued: int
    """How many images wait for a worker because of this request."""
    skipped: int = 0
    """How many others the job already held."""
    is_repeated: bool = False
    """The request is a repetition and added nothing."""


def open_job(
    session: Session,
    *,
    user_id: uuid.UUID,
    name: str,
    source: Source,
    model_name: str,
    priority: Priority,
    expected_images: int | None = None,
    key: IdempotencyKey | None = None,
) -> Job:
    """Create a job that accepts images until it is closed; the same key of the same user returns the same job.

    Raises KeyReused where the key was used for another request.
    """
    known = find_job(session, user_id, key.text if key else None)
    if known is not None and key is not None:
        key.check_repeated(known.request_digest)
        return known
    job = Job(
        id=new_id(),
        name=name,
        created_by_id=user_id,
        source=source,
        model_name=model_name,
        priority=priority,
        expected_images=expected_images,
        idempotency_key=key.text if key else None,
        request_digest=key.digest if key else None,
    )
    session.add(job)
    session.flush()
    return job


def find_job(session: Session, user_id: uuid.UUID, key: str | None) -> Job | None:
    """Return the job created under a user's idempotency key; None where there is none yet."""
    known = select(Job).where(Job.created_by_id == user_id, Job.idempotency_key == key)
    return session.scalar(known) if key is not None else None


def find_upload(session: Session, job_id: uuid.UUID, key: str | None) -> Upload | None:
    """Return the request that added images to a job under a key; None where there is none yet."""
    known = select(Upload).where(Upload.job_id == job_id, Upload.idempotency_key == key)
    return session.scalar(known) if key is not None else None


def add_images(
    session: Session,
    job_id: uuid.UUID,
    received: Sequence[Received],
    model: ModelSpec | None,
    key: IdempotencyKey | None = None,
    *,
    skip_held: bool = False,
) -> Added:
    """Add one request's images to an open job; `skip_held` leaves out those whose name and content it has already.

    An image that the job's model has predicted before is DONE at once; without a model all images wait. A key adds
    images only once. Raises JobClosed where the job accepts no more images, KeyReused where the key was used for
    another request.
    """
    job = check_there(session.scalar(select(Job).where(Job.id == job_id).with_for_update()))
    if model is not None and model.name != job.model_name:
        raise ValueError(f"The job is for {job.model_name}; answers of {model.name} are not its own.")
    known = find_upload(session, job_id, key.text if key else None)
    if known is not None and key is not None:
        key.check_repeated(known.request_digest)
        rows_before = received if known.images is None else received_before(session, known)
        return Added(rows_before, 0, known.skipped or 0, is_repeated=True)
    check_open(job)
    sent = len(received)
    if skip_held:
        received = leave_out_held(session, job_id, received)
    skipped = sent - len(received)
    if key is not None:
        upload = Upload(job_id=job_id, idempotency_key=key.text, request_digest=key.digest, skipped=skipped)
        upload.first_position, upload.images = job.next_position, len(received)
        session.add(upload)
    rows = _add_rows(session, job, received, model)
    return Added(received, sum(row["state"] is State.QUEUED for row in rows), skipped)


def _add_rows(
    session: Session, job: Job, received: Sequence[Received], model: ModelSpec | None
) -> list[dict[str, Any]]:
    """Append a screening to a job for each file, and note those that this model has already flagged."""
    images, earlier = _store_images(session, [item.image for item in received if item.image is not None])
    states = latest.review_states(session, earlier)
    answers = _known_predictions(session, images.values(), model) if model else {}
    start_turn = max(job.next_turn, _virtual_time(session, job.model_name))
    rows = [
        _screening_row(job, index, start_turn=start_turn, item=item, images=images, answers=answers, states=states)
        for index, item in enumerate(received)
    ]
    last = _flag_latest(rows, set(earlier))
    for some in in_parts(rows):
        session.execute(insert(Screening), some)
    latest.choose(session, earlier, {image_id: [last[image_id]] for image_id in earlier})
    note_flagged(session, [row["id"] for row in rows if row["state"] is State.DONE])
    job.next_position += len(rows)
    job.next_turn = start_turn + len(rows)
    return rows


def check_open(job: Job) -> None:
    """Raise JobClosed where a job accepts no more images."""
    if job.closed_at is not None:
        raise _closed()


def check_there(job: Job | None) -> Job:
    """Return a job; raise JobClosed where it was deleted while images for it were being received."""
    if job is None:
        raise _closed()
    return job


def _closed() -> JobClosed:
    return JobClosed("This job takes no more X-rays. Start a new job.")


def close_job(session: Session, job_id: uuid.UUID) -> bool:
    """Close a job's upload; False where it was already closed."""
    still_open = update(Job).where(Job.id == job_id, Job.closed_at.is_(None))
    return row_count(session.execute(still_open.values(closed_at=now()))) > 0


def open_uploads(session: Session) -> dict[uuid.UUID, int]:
    """Return every job whose upload is open, with its number of images."""
    found = session.execute(select(Job.id, Job.next_position).where(Job.closed_at.is_(None)))
    return {row.id: row.next_position for row in found}


def received_before(session: Session, upload: Upload) -> list[Received]:
    """Return from its rows each file of a request: its name, and why it was refused if it was."""
    first, images = upload.first_position or 0, upload.images or 0
    rows = select(Screening.file_name, Screening.image_id, Screening.error_code, Screening.error_details).where(
        Screening.job_id == upload.job_id, Screening.position >= first, Screening.position < first + images
    )
    return [
        Received(name, rejection=None if image_id else ImageRejected.stored(code, details))
        for name, image_id, code, details in session.execute(rows.order_by(Screening.position))
    ]


def _screening_row(
    job: Job,
    index: int,
    *,
    start_turn: int,
    item: Received,
    images: dict[str, uuid.UUID],
    answers: dict[uuid.UUID, dict[str, Any]],
    states: dict[uuid.UUID, ReviewState],
) -> dict[str, Any]:
    at = now()
    image_id = images[item.image.sha256] if item.image else None
    answer = answers.get(image_id) if image_id else None
    state = State.REJECTED if item.rejection else State.DONE if answer else State.QUEUED
    return {
        "id": new_id(),
        "job_id": job.id,
        "created_by_id": job.created_by_id,
        "image_id": image_id,
        **(answer or _NO_ANSWER),
        "position": job.next_position + index,
        "file_name": item.file_name,
        "state": state,
        "priority": job.priority,
        "turn": start_turn + index,
        "attempts": 0,
        "error_code": item.rejection.code.value if item.rejection else None,
        "error_details": item.rejection.details or None if item.rejection else None,
        "created_at": at,
        "finished_at": None if state is State.QUEUED else at,
        "review_state": states.get(image_id, ReviewState.UNREAD) if image_id else ReviewState.UNREAD,
    }


def _flag_latest(rows: list[dict[str, Any]], earlier: Collection[uuid.UUID]) -> dict[uuid.UUID | None, uuid.UUID]:
    """Flag the latest of a request's rows for each image, and every row without image; return the latest by image.

    The latest row of an image stored before is only flagged when it has its prediction, by `latest.choose`.
    """
    last = {row["image_id"]: row["id"] for row in rows}
    for row in rows:
        is_last = row["image_id"] is None or last[row["image_id"]] == row["id"]
        row["is_latest"] = is_last and (row["state"] is not State.QUEUED or row["image_id"] not in earlier)
    return last


def _virtual_time(session: Session, model_name: str) -> int:
    """Return the turn being served, so that a new job starts level with the others, not ahead or behind."""
    waiting = select(func.min(Screening.turn)).join(Job).where(in_states([State.QUEUED]), Job.model_name == model_name)
    return session.scalar(waiting) or 0


def _store_images(session: Session, images: Iterable[AcceptedImage]) -> tuple[dict[str, uuid.UUID], list[uuid.UUID]]:
    """Insert one row for each distinct image; return the ids by sha256, and those that already existed."""
    # Sorted, because two uploads of the same images in opposite orders would deadlock on PostgreSQL.
    distinct = {image.sha256: image for image in sorted(images, key=lambda image: image.sha256)}
    at = now()
    rows = [{"id": new_id(), **vars(image), "created_at": at} for image in distinct.values()]
    ids: dict[str, uuid.UUID] = {}
    for some in in_parts(rows):
        missing = some
        # A row that `retention` is removing is gone before it can be locked, and is then inserted again.
        while missing:
            insert_new(session, Image, missing)
            ids |= latest.hold_images(session, [row["sha256"] for row in missing])
            missing = [row for row in missing if row["sha256"] not in ids]
    _renew_patients(session, [{**row, "id": ids[row["sha256"]]} for row in rows if ids[row["sha256"]] != row["id"]])
    return ids, [ids[row["sha256"]] for row in rows if ids[row["sha256"]] != row["id"]]


def _renew_patients(session: Session, rows: list[dict[str, Any]]) -> None:
    """Update the patient pseudonyms of existing images to the current key, which may have changed since.

    An image stored before patients were kept gets its patient this way, too.
    """
    known = {row["id"]: row for row in rows if row["patient"] is not None}
    for some in in_parts(known):
        found = session.execute(select(Image.id, Image.patient).where(Image.id.in_(some)))
        renewed = [
            {name: known[image_id][name] for name in ("id", "patient", "taken_on")}
            for image_id, patient in found
            if patient != known[image_id]["patient"]
        ]
        if renewed:
            session.execute(update(Image), renewed)


def _known_predictions(
    session: Session, image_ids: Iterable[uuid.UUID], model: ModelSpec
) -> dict[uuid.UUID, dict[str, Any]]:
    """Return the columns that a screening copies from existing predictions, by image."""
    known: dict[uuid.UUID, dict[str, Any]] = {}
    for some in in_parts(image_ids):
        found = session.execute(
            select(Prediction.image_id, *[column.label(name) for name, column in prediction_copies().items()])
            .join(Model)
            .where(Model.name == model.name, Model.sha256 == model.identity, Prediction.image_id.in_(some))
        )
        for row in found.mappings():
            values = dict(row)
            known[values.pop("image_id")] = values
    return known


def cancel(session: Session, job_id: uuid.UUID) -> int:
    """Cancel a job's unfinished images, close its upload, and return how many images were cancelled."""
    # Locked as in `retry`, so that none is queued again between locking the images and cancelling.
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(key_share=True))
    close_job(session, job_id)
    chosen = (Screening.job_id == job_id, in_states(sources(Event.CANCEL)))
    images = latest.hold_images_of(session, *chosen, only_flagged=True)
    cancelled = row_count(
        session.execute(
            update(Screening)
            .where(*chosen)
            .values(state=target(Event.CANCEL), finished_at=now(), lease_token=None, lease_until=None)
            .execution_options(synchronize_session=False)
        )
    )
    latest.choose(session, images)
    return cancelled


def can_retry(job_id: uuid.UUID, let_through: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    """Match the screenings of a job that may end differently when retried.

    A file refused at intake was never stored and must be sent again. What a worker refused would be refused again,
    unless its code may change or is now among those let through.
    """
    changes = Screening.error_code.in_(sorted({*MAY_CHANGE, *let_through}))
    return (
        Screening.job_id == job_id,
        in_states(sources(Event.RETRY)),
        Screening.image_id.is_not(None),
        or_(Screening.state != State.REJECTED, changes),
    )


def retry(session: Session, job_id: uuid.UUID, let_through: Collection[str] = ()) -> int:
    """Queue failed, cancelled and retriable rejected images again; return how many.

    `let_through` are the gate's codes that no longer refuse images.
    """
    # Locked in the order of a purge, to avoid a deadlock with it.
    model_name = session.scalar(select(Job.model_name).where(Job.id == job_id).with_for_update())
    if model_name is None:
        return 0
    chosen = can_retry(job_id, let_through)
    first = session.scalar(select(func.min(Screening.position)).where(*chosen)) or 0
    start_turn = _virtual_time(session, model_name) - first
    images = latest.hold_images_of(session, *chosen, only_flagged=False)
    changed = row_count(
        session.execute(
            update(Screening)
            .where(*chosen)
            .values(
                state=target(Event.RETRY),
                attempts=0,
                turn=start_turn + Screening.position,
                error_code=None,
                error_details=None,
                started_at=None,
                finished_at=None,
            )
            .execution_options(synchronize_session=False)
        )
    )
    latest.choose(session, images)
    if changed:
        values = {"is_watched": True, "retried_at": now(), "ended_at": None, "seen_at": None}
        watched = update(Job).where(Job.id == job_id).values(values)
        session.execute(watched.execution_options(synchronize_session=False))
    return changed
