"""Turn HTTP requests into submissions, for API and upload page. `shared.submission` does the rest."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from flask import g, request
from sqlalchemy import update

from shared.db import now
from shared.idempotency import IdempotencyKey
from shared.submission.admission import admit
from shared.submission.request_digest import RequestDigest
from shared.submission.submit import (
    EmptySubmission,
    Receipt,
    Sender,
    Submission,
    add_images,
    answer_again,
    find_open,
    find_submission,
    open_submission,
    submit,
)
from shared.tables import Job, Priority, Source, Upload
from web.base.problems import InvalidRequest
from web.base.services import services
from web.languages.text import say
from web.uploads.fields import idempotency_key, priority_so_far, read_skip_received, read_submission
from web.uploads.form import FILES_PART, drain_body, receive_form

T = TypeVar("T", Job, Upload)

_SIGN_SECONDS: Final = 5.0
"""A third of the time after which a page reports that nobody is sending (`web.jobs.overview`)."""


def sender() -> Sender:
    """Return the sender of this request."""
    return Sender(g.user.id, address=request.remote_addr)


def open_job(submission: Submission) -> Job:
    """Open an empty job that accepts images; the same key of the same user returns the same job.

    Raises KeyReused where the key was used for another request.
    """
    text = idempotency_key()
    digest = RequestDigest("open job", services().settings) if text else None
    return open_submission(services(), sender(), submission, _whole_key(text, digest, *submission.fields))


def receive_job(source: Source) -> Receipt:
    """Read a multipart request as one complete job: opened, filled and closed in one transaction.

    Raises KeyReused where its key was used for another request.
    """
    text = idempotency_key()
    known = _comparable(find_submission(services(), sender(), text))
    digest = RequestDigest("job", services().settings) if text else None
    with drain_body():
        # A repeated request adds nothing, so it is only read and compared, without admission.
        texts, received = receive_form(None if known else admit(services()), priority_so_far, digest)
    submission = read_submission(texts, source)
    key = _whole_key(text, digest, *submission.fields)
    if known and key:
        return answer_again(services(), known, key)
    with _refuse_empty():
        return submit(services(), sender(), submission, received, key)


class SignOfLife:
    """Record in an open job that a request is still sending, so that its page tells a slow sender from none."""

    def __init__(self, job_id: uuid.UUID) -> None:
        self.job_id = job_id
        self._due = 0.0

    def give(self) -> None:
        """Record it, unless that was done a moment ago."""
        if time.monotonic() < self._due:
            return
        with services().database.write() as db:
            db.execute(update(Job).where(Job.id == self.job_id, Job.closed_at.is_(None)).values(sent_at=now()))
        self._due = time.monotonic() + _SIGN_SECONDS


def receive_images(job_id: uuid.UUID) -> Receipt:
    """Read a multipart request of images into an open job.

    Raises JobClosed where it accepts no more, KeyReused where its key was used for another request.
    """
    text = idempotency_key()
    digest = RequestDigest("images", services().settings) if text else None
    with drain_body():
        job, earlier = find_open(services(), job_id, text)
        known = _comparable(earlier)
        alive = SignOfLife(job.id)
        alive.give()
        admission = None if known else admit(services())
        texts, received = receive_form(admission, lambda _texts, _images: Priority(job.priority), digest, alive.give)
    skips = read_skip_received(texts)
    # Only fields that are given count, so that requests from before the field existed can still be repeated.
    key = _whole_key(text, digest, *(["skip_received"] if skips else []))
    if known and key:
        return answer_again(services(), known, key)
    with _refuse_empty():
        return add_images(services(), sender(), job, received, key, skip_held=skips)


def _comparable(known: T | None) -> T | None:
    """Return the earlier request under a key if its digest was stored; old rows have none."""
    return known if known is not None and known.request_digest is not None else None


def _whole_key(text: str | None, digest: RequestDigest | None, *fields: object) -> IdempotencyKey | None:
    return IdempotencyKey(text, digest.hexdigest(*fields)) if text and digest else None


@contextmanager
def _refuse_empty() -> Iterator[None]:
    """Answer an empty submission as a fault of the part that has the files."""
    try:
        yield
    except EmptySubmission as error:
        raise InvalidRequest(FILES_PART, say(error)) from error
