"""From a request's body to a job with films: what API, upload page and samples share."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from flask import g, request
from sqlalchemy.orm import Session, joinedload

from shared.audit.record import Action, record
from shared.errors import JobClosed
from shared.intake import archive
from shared.intake.accept import Received, read_chunks
from shared.intake.pseudonyms import conceal, conceal_key, told
from shared.models.folder import find_spec
from shared.queue import jobs
from shared.queue.tickets import FILMS_A_TICKET, ring_or_wait
from shared.submission.new_store import create_if_new
from shared.tables import Job, Priority, Source
from web.base.problems import InvalidRequest
from web.base.services import parts
from web.uploads.admission import Admission
from web.uploads.fingerprint import Fingerprint
from web.uploads.form import FILES_PART, hear_out, receive_form
from web.uploads.model_choice import FIELD as MODEL_FIELD
from web.uploads.model_choice import read_model
from web.watch.status import watch

log = logging.getLogger(__name__)

T = TypeVar("T")

_NAME_LENGTH: Final = 255
_KEY_LENGTH: Final = 128
_PRIORITIES: Final = {"interactive": Priority.INTERACTIVE, "bulk": Priority.BULK}
_SOURCES: Final = {source.value: source for source in (Source.API, Source.CLI, Source.WEB)}


@dataclass(frozen=True)
class Wishes:
    """What a sender says of a job."""

    name: str | None = None
    expected_films: int | None = None
    priority: Priority | None = None
    source: Source = Source.API
    model: str | None = None
    """Name of the model that is to screen; None for that of the settings."""


@dataclass(frozen=True)
class Receipt:
    """What became of one request's films."""

    job: Job
    received: list[Received] = field(default_factory=list)
    queued: int = 0

    @property
    def rejected(self) -> list[Received]:
        """Return the files that were refused."""
        return [item for item in self.received if item.rejection is not None]


def read_wishes(given: Mapping[str, object], source: Source) -> Wishes:
    """Check what a sender says of a job, `source` where it says none; raise InvalidRequest where it cannot be used."""
    return Wishes(
        name=_read_name(given.get("name")),
        expected_films=_read_count(given.get("expected_films")),
        priority=_choose("priority", given.get("priority"), _PRIORITIES, None),
        source=_choose("source", given.get("source"), _SOURCES, source),
        model=read_model(given.get(MODEL_FIELD)),
    )


def _read_name(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidRequest("name", f"Give a text. Received: {told(value, parts().settings)}.")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value).strip()
    # Programs and the upload page name a job after its folder.
    return conceal(shown, parts().settings)[:_NAME_LENGTH] or None


def _read_count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # to JSON Schema 3.0 is an integer
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        received = told(value, parts().settings)
        raise InvalidRequest("expected_films", f"Give a whole number, 0 or more. Received: {received}.")
    return value


def _choose(name: str, value: object, choices: Mapping[str, T], default: T) -> T:
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequest(name, f"Give {' or '.join(choices)}. Received: {told(value, parts().settings)}.")
    return choices[value]


def idempotency_key() -> str | None:
    """Return the key under which the sender may repeat this request."""
    key = request.headers.get("Idempotency-Key") or None
    if key is not None and (len(key) > _KEY_LENGTH or not key.isprintable()):
        raise InvalidRequest(
            "Idempotency-Key", f"Give at most {_KEY_LENGTH} printable characters. Received: {len(key)} characters."
        )
    return None if key is None else conceal_key(key, parts().settings)


def open_job(wishes: Wishes) -> Job:
    """Open an empty job that takes films; the same key of the same user gives the same job.

    Raises KeyReused where the key came with another request before.
    """
    key = idempotency_key()
    digest = Fingerprint("open job").digest(*_told(wishes)) if key else None
    few = wishes.expected_films is not None and wishes.expected_films <= parts().settings.interactive_films
    if _find_job(key) is None:
        _make_admission().check(_priority(wishes, few))
    return parts().database.transact(lambda db: _open(db, wishes, few, key, digest))


def receive_job(source: Source) -> Receipt:
    """Read a whole multipart request as one job: opened, filled and closed in one transaction.

    Raises KeyReused where its key came with another request before.
    """
    key = idempotency_key()
    known = _find_job(key)
    fingerprint = Fingerprint("job") if key else None
    # What is known adds nothing, so it is only read and compared, and no limit has to hold it back.
    is_compared = known is not None and known.request_digest is not None
    with hear_out():
        texts, received = receive_form(None if is_compared else _make_admission(), _priority_so_far, fingerprint)
    wishes = read_wishes(texts, source)
    digest = fingerprint.digest(*_told(wishes)) if fingerprint else None
    if known is not None and is_compared:
        jobs.check_repeated(known.request_digest, digest)
        return _answer_again(known.id, key)
    return submit(received, wishes, key, digest)


def _told(wishes: Wishes) -> list[object]:
    return list(vars(wishes).values())


def _answer_again(job_id: uuid.UUID, key: str | None) -> Receipt:
    """Tell once more what became of a request's files; raise JobClosed where its job was deleted meanwhile."""
    with parts().database.read() as db:
        job = db.get(Job, job_id, options=[joinedload(Job.created_by)])
        upload = jobs.find_upload(db, job_id, key)
        if job is None or upload is None:
            raise JobClosed("The job of this key was deleted at this moment. Send it under a new key.")
        return Receipt(job, jobs.received_before(db, upload))


def receive_files(paths: Sequence[Path], wishes: Wishes) -> Receipt:
    """Submit files of this machine as one job."""
    _make_admission().check(_priority(wishes, len(paths) <= parts().settings.interactive_films))
    received: list[Received] = []
    for path in paths:
        with path.open("rb") as file:
            received += archive.receive(path.name, read_chunks(file), parts().store, parts().settings)
    return submit(received, wishes)


def submit(received: list[Received], wishes: Wishes, key: str | None = None, digest: str | None = None) -> Receipt:
    """Write a complete job, then ring."""
    if not received:
        raise InvalidRequest(FILES_PART, "Send at least one film. Received: none.")
    named = wishes if wishes.name else Wishes(**{**vars(wishes), "name": _name_of(received)})
    few = len(received) <= parts().settings.interactive_films
    _make_last(received)

    def write(db: Session) -> Receipt:
        job = _open(db, named, few, key, digest)
        # The job's model and not the settings', which may have changed since the job was opened.
        model = find_spec(parts().settings.models_dir, job.model_name)
        queued = jobs.add_films(db, job.id, received, model, key, request_digest=digest)
        jobs.close_job(db, job.id)
        return Receipt(job, received, queued)

    return _announce(parts().database.transact(write))


def receive_films(job_id: uuid.UUID) -> Receipt:
    """Read a multipart request of films into an open job.

    Raises JobClosed where it takes no more, KeyReused where its key came with another request before.
    """
    key = idempotency_key()
    with parts().database.read() as db:
        job = db.get_one(Job, job_id)
        known = jobs.find_upload(db, job_id, key)
    if job.closed_at is not None and known is None:
        # Before the films are read, so that none is stored that no row would name.
        raise JobClosed("This job takes no more films. Start a new job.")
    fingerprint = Fingerprint("films") if key else None
    is_compared = known is not None and known.request_digest is not None
    admission = None if is_compared else _make_admission()
    with hear_out():
        _, received = receive_form(admission, lambda _texts, _films: Priority(job.priority), fingerprint)
    digest = fingerprint.digest() if fingerprint else None
    if known is not None and is_compared:
        jobs.check_repeated(known.request_digest, digest)
        return _answer_again(job_id, key)
    if not received:
        raise InvalidRequest(FILES_PART, "Send at least one film. Received: none.")
    model = find_spec(parts().settings.models_dir, job.model_name)
    _make_last(received)

    def write(db: Session) -> Receipt:
        queued = jobs.add_films(db, job_id, received, model, key, request_digest=digest)
        return Receipt(db.get_one(Job, job_id, options=[joinedload(Job.created_by)]), received, queued)

    return _announce(parts().database.transact(write))


def _make_last(received: Sequence[Received]) -> None:
    """Force a request's films to disk, all at once, before a row names them."""
    parts().store.force(sorted({item.film.sha256 for item in received if item.film is not None}))


def _announce(receipt: Receipt) -> Receipt:
    """Ring for what a request brought, and count it as waiting before the next count is due.

    The films are accepted: whatever fails here, the sweep rings for them.
    """
    try:
        watch().backlog.amend(lambda known: known.plus(Priority(receipt.job.priority), receipt.queued))
        # More tickets than workers ring for nothing, and cost more than all else that a request does.
        model = receipt.job.model_name
        heard = watch().workers() if receipt.queued > FILMS_A_TICKET else None
        workers = sum(worker.model_name == model for worker in heard or ())
        ring_or_wait(parts().doorbell, model, min(receipt.queued, FILMS_A_TICKET * max(1, workers)))
    except Exception:
        log.exception("Nobody was told of the films of job %s; the sweep rings for them.", receipt.job.id)
    return receipt


def _make_admission() -> Admission:
    create_if_new(parts().database, parts().store)
    return Admission(parts().settings, watch())


def _find_job(key: str | None) -> Job | None:
    """Return the job that was opened under this key; what was accepted is not refused when it is sent again."""
    if key is None:
        return None
    with parts().database.read() as db:
        return jobs.find_job(db, g.user.id, key)


def _priority(wishes: Wishes, few: bool) -> Priority:
    if wishes.priority is not None:
        return wishes.priority
    return Priority.INTERACTIVE if few else Priority.BULK


def _priority_so_far(texts: Mapping[str, str], films: int) -> Priority:
    """Return the priority that a form would have with the texts and films that are there."""
    wanted = _PRIORITIES.get(texts.get("priority", ""))
    return _priority(Wishes(priority=wanted), films <= parts().settings.interactive_films)


def _open(db: Session, wishes: Wishes, few: bool, key: str | None, digest: str | None) -> Job:
    is_new = jobs.find_job(db, g.user.id, key) is None
    job = jobs.open_job(
        db,
        user_id=g.user.id,
        name=wishes.name or "Upload",
        source=wishes.source,
        model_name=wishes.model or parts().settings.model,
        priority=_priority(wishes, few),
        expected_films=wishes.expected_films,
        idempotency_key=key,
        request_digest=digest,
    )
    db.refresh(job, ["created_by"])
    if is_new:
        record(db, Action.JOB_SUBMITTED, user_id=g.user.id, subject=job.id, address=request.remote_addr)
    return job


def _name_of(received: list[Received]) -> str:
    """Name a job after its only film, the folder that all share, or their number."""
    names = [item.file_name for item in received]
    if len(names) == 1:
        return names[0][-_NAME_LENGTH:]
    folders = {name.split("/", 1)[0] if "/" in name else None for name in names}
    folder = folders.pop() if len(folders) == 1 else None
    return folder[:_NAME_LENGTH] if folder else f"{len(names):,} files"
