"""From a request's body to a job with films: what API, upload page and samples share."""

import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from flask import g, request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from shared import archive, jobs
from shared.audit import Action, record
from shared.errors import JobClosed, UploadRefused
from shared.intake import Received, read_chunks
from shared.queue import ring_or_wait
from shared.tables import Job, Priority, Source, Upload
from web.multipart import FilePart, TextPart, read_parts
from web.parts import parts
from web.problems import InvalidRequest
from web.progress import model_spec
from web.security import CSRF_FIELD, CSRF_HEADER, check_csrf_token

T = TypeVar("T")

FILES_PART: Final = "files"
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
    )


def _read_name(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidRequest("name", f"Give a text. Received: {value!r}.")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value).strip()[:_NAME_LENGTH] or None


def _read_count(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise InvalidRequest("expected_films", f"Give a whole number, 0 or more. Received: {value!r}.")
    return value


def _choose(name: str, value: object, choices: Mapping[str, T], default: T) -> T:
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequest(name, f"Give {' or '.join(choices)}. Received: {value!r}.")
    return choices[value]


def idempotency_key() -> str | None:
    """Return the key under which the sender may repeat this request."""
    key = request.headers.get("Idempotency-Key") or None
    if key is not None and (len(key) > _KEY_LENGTH or not key.isprintable()):
        raise InvalidRequest(
            "Idempotency-Key", f"Give at most {_KEY_LENGTH} printable characters. Received: {len(key)} characters."
        )
    return key


def open_job(wishes: Wishes) -> Job:
    """Open an empty job that takes films; the same key of the same user gives the same job."""
    key = idempotency_key()
    few = wishes.expected_films is not None and wishes.expected_films <= parts().settings.interactive_films
    return _in_transaction(lambda db: _open(db, wishes, few, key))


def receive_job(source: Source) -> Receipt:
    """Read a whole multipart request as one job: opened, filled and closed in one transaction."""
    key = idempotency_key()
    texts, received = _receive_form()
    return submit(received, read_wishes(texts, source), key)


def receive_files(paths: Iterable[Path], wishes: Wishes) -> Receipt:
    """Submit files of this machine as one job."""
    received: list[Received] = []
    for path in paths:
        with path.open("rb") as file:
            received += archive.receive(path.name, read_chunks(file), parts().store, parts().settings)
    return submit(received, wishes, None)


def submit(received: list[Received], wishes: Wishes, key: str | None) -> Receipt:
    """Write a complete job, then ring."""
    if not received:
        raise InvalidRequest(FILES_PART, "Send at least one film. Received: none.")
    named = wishes if wishes.name else Wishes(**{**vars(wishes), "name": _name_of(received)})
    few = len(received) <= parts().settings.interactive_films
    model = model_spec(parts().settings)

    def write(db: Session) -> Receipt:
        job = _open(db, named, few, key)
        queued = jobs.add_films(db, job.id, received, model, key)
        jobs.close_job(db, job.id)
        return Receipt(job, received, queued)

    receipt = _in_transaction(write)
    ring_or_wait(parts().doorbell, receipt.queued)
    return receipt


def receive_films(job_id: uuid.UUID) -> Receipt:
    """Read a multipart request of films into an open job; raise JobClosed where it takes no more."""
    key = idempotency_key()
    with parts().database.read() as db:
        _refuse_closed(db, job_id, key)
    _, received = _receive_form()
    if not received:
        raise InvalidRequest(FILES_PART, "Send at least one film. Received: none.")
    model = model_spec(parts().settings)

    def write(db: Session) -> Receipt:
        queued = jobs.add_films(db, job_id, received, model, key)
        return Receipt(db.get_one(Job, job_id, options=[joinedload(Job.created_by)]), received, queued)

    receipt = _in_transaction(write)
    ring_or_wait(parts().doorbell, receipt.queued)
    return receipt


def _refuse_closed(db: Session, job_id: uuid.UUID, key: str | None) -> None:
    """Refuse before the films are read, so that none is stored that no row would name."""
    if db.get_one(Job, job_id).closed_at is None:
        return
    known = select(Upload.id).where(Upload.job_id == job_id, Upload.idempotency_key == key)
    if key is None or db.scalar(known) is None:
        raise JobClosed("This job takes no more films. Start a new job.")


def _open(db: Session, wishes: Wishes, few: bool, key: str | None) -> Job:
    job = jobs.open_job(
        db,
        user_id=g.user.id,
        name=wishes.name or "Upload",
        source=wishes.source,
        model_name=parts().settings.model,
        priority=wishes.priority if wishes.priority is not None else Priority.INTERACTIVE if few else Priority.BULK,
        expected_films=wishes.expected_films,
        idempotency_key=key,
    )
    db.refresh(job, ["created_by"])
    if job.next_position == 0 and job.closed_at is None:
        record(db, Action.JOB_SUBMITTED, user_id=g.user.id, subject=job.id, address=request.remote_addr)
    return job


def _in_transaction(write: Callable[[Session], T]) -> T:
    """Write, and once more where the same request won the race for its idempotency key."""
    try:
        with parts().database.write() as db:
            return write(db)
    except IntegrityError:
        with parts().database.write() as db:
            return write(db)


def _name_of(received: list[Received]) -> str:
    """Name a job after its only film, the folder that all share, or their number."""
    names = [item.file_name for item in received]
    if len(names) == 1:
        return names[0][-_NAME_LENGTH:]
    folders = {name.split("/", 1)[0] if "/" in name else None for name in names}
    folder = folders.pop() if len(folders) == 1 else None
    return folder[:_NAME_LENGTH] if folder else f"{len(names):,} files"


def _receive_form() -> tuple[dict[str, str], list[Received]]:
    """Read this request's form: its texts, and what became of each of its files."""
    texts: dict[str, str] = {}
    received: list[Received] = []
    needs_token = not g.by_token
    if needs_token and (token := request.headers.get(CSRF_HEADER)):
        check_csrf_token(token)
        needs_token = False
    for part in _read_request():
        if isinstance(part, TextPart):
            texts[part.name] = part.value
            continue
        if needs_token:
            check_csrf_token(texts.get(CSRF_FIELD))
            needs_token = False
        received += _take(part)
        _refuse_too_many(len(received))
    if needs_token:
        check_csrf_token(texts.get(CSRF_FIELD))
    return texts, received


def _refuse_too_many(films: int) -> None:
    """Bound what one request can come to when every file of it is a ZIP."""
    most = parts().settings.max_zip_entries + parts().settings.max_films_per_upload
    if films > most:
        raise UploadRefused(f"One request takes at most {most:,} films, those inside ZIPs counted. Send several.")


def _read_request() -> Iterator[TextPart | FilePart]:
    # Flask would cap the body at the size of a small form; read_parts counts instead.
    request.max_content_length = sys.maxsize
    return read_parts(request.stream, request.content_type or "", request.content_length, parts().settings)


def _take(part: FilePart) -> Iterator[Received]:
    if part.name != FILES_PART:
        raise InvalidRequest(part.name or "part", f"Send films in parts named '{FILES_PART}'.")
    if part.file_name == "":  # what a browser sends for a file field left empty
        return
    yield from archive.receive(part.file_name, part.chunks, parts().store, parts().settings)
