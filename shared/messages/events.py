"""Write events as messages, to webhooks and as e-mails to people, in the commit of the event itself."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import in_parts, new_id
from shared.messages import emails, outbox
from shared.messages.outbox import MessageContent
from shared.models.spec import Label
from shared.tables import Job, MessageEvent, Priority, Screening, Source, User, Webhook

BY_HAND: Final = (Source.WEB, Source.SAMPLES)
"""Senders that use a program do not watch a page."""


def note_flagged(session: Session, screenings: Sequence[uuid.UUID]) -> None:
    """Write messages for flagged images; others are skipped.

    Each goes to every subscribed webhook. People get an immediate e-mail, one per job, where somebody waits for the
    job; flagged images of a bulk job are reported at its end.
    """
    webhooks = outbox.listening(session, MessageEvent.IMAGE_FLAGGED) if screenings else []
    has_readers = bool(screenings) and emails.has_readers(session)
    for some in in_parts(screenings):
        if webhooks:
            outbox.add(session, webhooks, MessageEvent.IMAGE_FLAGGED, _flagged_images(session, some))
        if has_readers:
            _write_at_once(session, some)


def _flagged_images(session: Session, screenings: Sequence[uuid.UUID]) -> list[MessageContent]:
    flagged = select(Screening.id, Screening.job_id).where(_flagged(), Screening.id.in_(screenings))
    return [
        MessageContent(
            row.id, "", {"screening": str(row.id), "job": str(row.job_id), "page_url": f"/screenings/{row.id}"}
        )
        for row in session.execute(flagged)
    ]


def _write_at_once(session: Session, screenings: Sequence[uuid.UUID]) -> None:
    """Write an e-mail for each small job with newly flagged images."""
    urgent = (_flagged(), Screening.id.in_(screenings), Screening.priority == Priority.INTERACTIVE)
    flagged: dict[uuid.UUID, list[uuid.UUID]] = {}
    for row in session.execute(select(Screening.id, Screening.job_id).where(*urgent)):
        flagged.setdefault(row.job_id, []).append(row.id)
    if not flagged:
        return
    readers = emails.readers_to_write_to(session)
    for job in session.scalars(select(Job).where(Job.id.in_(flagged))).all():
        images = len(flagged[job.id])
        page_url = f"/screenings/{flagged[job.id][0]}" if images == 1 else f"/jobs/{job.id}"
        is_open = job.closed_at is None or job.next_position > images
        body = {**_of(job), "flagged": images, "is_open": is_open, "page_url": page_url}
        # A sender who wants an e-mail at the job's end gets only that one, which includes flagged images.
        others = [reader for reader in readers if reader.id != job.created_by_id or not reader.emails_job_finished]
        outbox.add(session, others, MessageEvent.IMAGE_FLAGGED, [MessageContent(job.id, "", body)])


def _flagged() -> Any:
    return Screening.label == Label.PNEUMONIA


def note_finished(session: Session, job: Job, ended_at: datetime, counts: dict[str, int], flagged: int) -> None:
    """Write messages for the end of a job; a retried job ends again."""
    body = {"job": str(job.id), "counts": counts, "flagged": flagged, "page_url": f"/jobs/{job.id}"}
    contents = [MessageContent(job.id, ended_at.isoformat(), body)]
    outbox.add(session, outbox.listening(session, MessageEvent.JOB_FINISHED), MessageEvent.JOB_FINISHED, contents)
    contents = [MessageContent(job.id, ended_at.isoformat(), {**body, **_of(job)})]
    sender = None if _was_seen(job) else emails.sender_to_write_to(session, User.id == job.created_by_id)
    if sender is not None:
        outbox.add(session, [sender], MessageEvent.JOB_FINISHED, contents)
    if flagged and job.priority == Priority.BULK:
        readers = [user for user in emails.readers_to_write_to(session) if user is not sender]
        outbox.add(session, readers, MessageEvent.IMAGE_FLAGGED, contents)


def _was_seen(job: Job) -> bool:
    """Tell whether the sender of a small manual job has seen it done on a page, and so needs no e-mail."""
    return job.priority == Priority.INTERACTIVE and job.source in BY_HAND and job.seen_at is not None


def _of(job: Job) -> dict[str, str]:
    """Describe a job in an e-mail by when it was sent, since its name may be a patient's."""
    return {"job": str(job.id), "sent_at": job.created_at.isoformat()}


def note_test(session: Session, target: Webhook | User) -> None:
    """Write a test message, to try an address."""
    outbox.add(session, [target], MessageEvent.TEST, [MessageContent(None, str(new_id()), {})])
