"""Submit received images as a job: fsync, rows and audit in one commit, then tickets. Independent of the protocol."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, joinedload

from shared.activations.in_force import default_model, spec_in_force
from shared.audit.record import Action, record
from shared.errors import JobClosed, TranslatableError
from shared.idempotency import IdempotencyKey
from shared.intake import archive
from shared.intake.accept import Received, read_chunks
from shared.models.folder import find_spec
from shared.models.spec import ModelSpec
from shared.queue import jobs
from shared.queue.tickets import IMAGES_PER_TICKET, try_send_tickets
from shared.submission.admission import admit, choose_priority
from shared.submission.services import Services
from shared.tables import Job, Priority, Source, Upload

log = logging.getLogger(__name__)

NAME_LENGTH: Final = 255


class EmptySubmission(TranslatableError):
    """Say that a submission brought no file at all."""


@dataclass(frozen=True)
class Sender:
    """Who submits: the account that owns the job, and further details for the audit trail."""

    user_id: uuid.UUID
    address: str | None = None
    actor: str | None = None
    """What acts for the account, such as a device or a schedule; None where the account acts itself."""


@dataclass(frozen=True)
class Submission:
    """A sender's options for the images submitted."""

    source: Source
    name: str | None = None
    expected_images: int | None = None
    priority: Priority | None = None
    model: str | None = None
    """Name of the model to screen with; None for the default one."""

    @property
    def fields(self) -> tuple[object, ...]:
        """Return all fields, for the digest of a request."""
        return self.name, self.expected_images, self.priority, self.source, self.model


@dataclass(frozen=True)
class Receipt:
    """The result of submitting images."""

    job: Job
    received: Sequence[Received] = field(default_factory=list)
    queued: int = 0
    skipped: int = 0
    """How many further files were skipped because the job already had their name and content."""

    @property
    def rejected(self) -> list[Received]:
        """Return the files that were refused."""
        return [item for item in self.received if item.rejection is not None]


def submit(
    services: Services,
    sender: Sender,
    submission: Submission,
    received: list[Received],
    key: IdempotencyKey | None = None,
) -> Receipt:
    """Create a complete job, opened, filled and closed in one transaction; then send tickets.

    The images have been received by `shared.intake` and admitted by `admission`. Raises EmptySubmission where there are
    none, KeyReused where the key was used for another request.
    """
    _force(services, received)
    named = submission if submission.name else replace(submission, name=_name_of(received))

    def write(session: Session) -> Receipt:
        job = _open(session, services, sender, named, key, images=len(received))
        # The job's model, not the default one, which may have changed since the job was opened.
        added = _add(session, job, received, find_spec(services.settings.models_dir, job.model_name), key)
        jobs.close_job(session, job.id)
        return Receipt(job, added.received, added.queued)

    return _send_tickets(services, services.database.transact(write))


def submit_files(
    services: Services,
    sender: Sender,
    submission: Submission,
    paths: Sequence[Path],
    key: IdempotencyKey | None = None,
) -> Receipt:
    """Submit files of this machine as one job; raise TryLater where no images are accepted for now."""
    _ask_admission(services, sender, submission, key, len(paths))
    received: list[Received] = []
    for path in paths:
        with path.open("rb") as file:
            received += archive.receive(path.name, read_chunks(file), services.store, services.settings)
    return submit(services, sender, submission, received, key)


def open_submission(
    services: Services, sender: Sender, submission: Submission, key: IdempotencyKey | None = None
) -> Job:
    """Open an empty job that accepts images in parts until closed; the same key of the same user returns the same job.

    Raises TryLater where no images are accepted for now, KeyReused where the key was used for another request.
    """
    images = submission.expected_images
    _ask_admission(services, sender, submission, key, images)
    return services.database.transact(lambda session: _open(session, services, sender, submission, key, images=images))


def add_images(
    services: Services,
    sender: Sender,
    job: Job,
    received: list[Received],
    key: IdempotencyKey | None = None,
    *,
    skip_held: bool = False,
) -> Receipt:
    """Add images to an open job, then send tickets; a key adds its images once.

    With `skip_held` a file whose name and content the job already has adds nothing, whoever sent it. Raises
    EmptySubmission where there are none, JobClosed where the job accepts no more, KeyReused where the key was used for
    another request.
    """
    _force(services, received)
    spec = find_spec(services.settings.models_dir, job.model_name)

    def write(session: Session) -> Receipt:
        added = _add(session, job, received, spec, key, skip_held=skip_held)
        if not added.is_repeated:
            _leave_trace(session, sender, job, Action.IMAGES_ADDED)
        whole = session.get_one(Job, job.id, options=[joinedload(Job.created_by)])
        return Receipt(whole, added.received, added.queued, added.skipped)

    return _send_tickets(services, services.database.transact(write))


def close_submission(services: Services, sender: Sender, job: Job) -> None:
    """Close a job's submission; closing twice changes nothing."""

    def write(session: Session) -> None:
        if jobs.close_job(session, job.id):
            _leave_trace(session, sender, job, Action.JOB_CLOSED)

    services.database.transact(write)


def _leave_trace(session: Session, sender: Sender, job: Job, action: Action) -> None:
    """Audit an act on another account's job; the owner's own acts are covered by the row of its creation."""
    if sender.user_id != job.created_by_id:
        record(session, action, user_id=sender.user_id, subject=job.id, address=sender.address, actor=sender.actor)


def find_submission(services: Services, sender: Sender, key: str | None) -> Job | None:
    """Return the job opened under a key; what was accepted is not refused when sent again."""
    if key is None:
        return None
    with services.database.read() as session:
        return jobs.find_job(session, sender.user_id, key)


def find_open(services: Services, job_id: uuid.UUID, key: str | None) -> tuple[Job, Upload | None]:
    """Return an open job, and its part received earlier under a key.

    Raises JobClosed where it accepts none: call it before reading images, so that none is stored without a row.
    """
    with services.database.read() as session:
        job = jobs.check_there(session.get(Job, job_id))
        known = jobs.find_upload(session, job_id, key)
    if known is None:
        jobs.check_open(job)
    return job, known


def answer_again(services: Services, known: Job | Upload, key: IdempotencyKey) -> Receipt:
    """Return the receipt of the images received under a key again; nothing is added.

    Raises KeyReused where this is another request, JobClosed where the job was deleted meanwhile.
    """
    key.check_repeated(known.request_digest)
    job_id = known.id if isinstance(known, Job) else known.job_id
    with services.database.read() as session:
        job = session.get(Job, job_id, options=[joinedload(Job.created_by)])
        upload = jobs.find_upload(session, job_id, key.text)
        if job is None or upload is None:
            raise JobClosed("The job of this key was deleted at this moment. Send it under a new key.")
        return Receipt(job, jobs.received_before(session, upload), skipped=upload.skipped or 0)


def _ask_admission(
    services: Services, sender: Sender, submission: Submission, key: IdempotencyKey | None, images: int | None
) -> None:
    """Raise TryLater where a new job is not admitted."""
    if find_submission(services, sender, key.text if key else None) is None:
        admit(services).check(choose_priority(services.settings, submission.priority, images))


def _force(services: Services, received: Sequence[Received]) -> None:
    """Force images to disk, all at once, before rows refer to them."""
    if not received:
        raise EmptySubmission("Send at least one X-ray. Received: none.")
    services.store.force(sorted({item.image.sha256 for item in received if item.image is not None}))


def _open(
    session: Session,
    services: Services,
    sender: Sender,
    submission: Submission,
    key: IdempotencyKey | None,
    *,
    images: int | None,
) -> Job:
    is_new = jobs.find_job(session, sender.user_id, key.text if key else None) is None
    job = jobs.open_job(
        session,
        user_id=sender.user_id,
        name=submission.name or "Upload",
        source=submission.source,
        model_name=submission.model or default_model(session, services.settings.model),
        priority=choose_priority(services.settings, submission.priority, images),
        expected_images=submission.expected_images,
        key=key,
    )
    session.refresh(job, ["created_by"])
    if is_new:
        record(
            session,
            Action.JOB_SUBMITTED,
            user_id=sender.user_id,
            subject=job.id,
            address=sender.address,
            actor=sender.actor,
        )
    return job


def _add(
    session: Session,
    job: Job,
    received: Sequence[Received],
    spec: ModelSpec | None,
    key: IdempotencyKey | None,
    *,
    skip_held: bool = False,
) -> jobs.Added:
    """Add images; `spec` is that of the folder of the job's model."""
    model = None if spec is None else spec_in_force(session, spec)
    return jobs.add_images(session, job.id, received, model, key, skip_held=skip_held)


def _send_tickets(services: Services, receipt: Receipt) -> Receipt:
    """Send tickets for accepted images, and add them to the measured backlog.

    The images are already accepted: if anything fails here, the sweep sends tickets for them.
    """
    try:
        services.capacity.count_in(Priority(receipt.job.priority), receipt.queued)
        # Tickets beyond the number of workers wake nobody, and cost more than all the rest of a submission.
        model = receipt.job.model_name
        heartbeats = services.capacity.workers() if receipt.queued > IMAGES_PER_TICKET else None
        workers = sum(worker.model_name == model for worker in heartbeats or ())
        try_send_tickets(services.tickets, model, min(receipt.queued, IMAGES_PER_TICKET * max(1, workers)))
    except Exception:
        log.exception("No ticket was sent for the images of job %s; the sweep sends them.", receipt.job.id)
    return receipt


def _name_of(received: Sequence[Received]) -> str:
    """Name a job after its only image, the common folder, or the number of images."""
    names = [item.file_name for item in received]
    if len(names) == 1:
        return names[0][-NAME_LENGTH:]
    folders = {name.split("/", 1)[0] if "/" in name else None for name in names}
    folder = folders.pop() if len(folders) == 1 else None
    return folder[:NAME_LENGTH] if folder else f"{len(names):,} files"
