"""Cancel, retry and delete jobs, with rows in the audit trail."""

import uuid
from datetime import datetime

from flask import abort, g, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.queue import jobs, retention
from shared.queue.tickets import try_send_tickets
from shared.tables import AuditEvent, Job
from web.base.numbers import moment_text
from web.base.problems import Refused
from web.base.services import services
from web.guard.access import may_change, sees_all
from web.http.problem_codes import ProblemCode
from web.languages.text import _
from web.lists.listing import get_job


def seen_job(db: Session, job_id: uuid.UUID) -> Job:
    """Return a job; answer 404 where there is none or the account may not see it."""
    job = get_job(db, g.user, job_id)
    if job is None:
        deleted_at = _deleted_at(db, job_id)
        if deleted_at is not None:
            said = _("The job %(job)s was deleted on %(moment)s.", job=job_id, moment=moment_text(deleted_at))
            raise Refused(ProblemCode.DELETED, said)
        abort(404, _("There is no job %(job)s.", job=job_id))
    return job


def _deleted_at(db: Session, job_id: uuid.UUID) -> datetime | None:
    """Return when a job that the account could see was deleted; None where there was none."""
    if db.get(Job, job_id) is not None:
        return None
    events = select(AuditEvent.created_at).where(AuditEvent.subject == str(job_id))
    own = events.where(AuditEvent.action == Action.JOB_SUBMITTED, AuditEvent.user_id == g.user.id)
    if not sees_all(g.user) and db.scalar(own.limit(1)) is None:
        return None
    deleted = events.where(AuditEvent.action.in_((Action.JOB_DELETED, Action.JOB_PURGED)))
    return db.scalar(deleted.order_by(AuditEvent.sequence.desc()).limit(1))


def own_job(db: Session, job_id: uuid.UUID) -> Job:
    """Return a job that the account may change; answer 403 where it may only see it."""
    job = seen_job(db, job_id)
    check_owner(job)
    return job


def check_owner(job: Job) -> None:
    """Answer 403 where the requesting account may see a job but not change it."""
    if not may_change(g.user, job):
        abort(403, _("Only the person who sent a job, or an administrator, may change it."))


def cancel(job_id: uuid.UUID) -> int:
    """Cancel a job's unfinished images and return how many."""

    def write(db: Session) -> int:
        own_job(db, job_id)
        changed = jobs.cancel(db, job_id)
        record(db, Action.JOB_CANCELLED, user_id=g.user.id, subject=job_id, address=request.remote_addr)
        return changed

    return services().database.transact(write)


def retry(job_id: uuid.UUID) -> int:
    """Queue failed, cancelled and retriable rejected images again; return how many."""

    def write(db: Session) -> tuple[str, int]:
        model = own_job(db, job_id).model_name
        changed = jobs.retry(db, job_id, services().settings.ignored_codes)
        record(db, Action.JOB_RETRIED, user_id=g.user.id, subject=job_id, address=request.remote_addr)
        return model, changed

    model, changed = services().database.transact(write)
    try_send_tickets(services().tickets, model, changed)
    return changed


def delete(job_id: uuid.UUID) -> int:
    """Delete a finished job and return how many images it had; raise JobUnfinished while it is running."""
    with services().database.read() as db:
        own_job(db, job_id)
    user_id, address = g.user.id, request.remote_addr
    removed = retention.delete_job(
        services().database,
        job_id,
        lambda db: record(db, Action.JOB_DELETED, user_id=user_id, subject=job_id, address=address),
    )
    return removed.screenings
