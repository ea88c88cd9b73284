"""Say that an X-ray was deleted, to those who could see it, instead of that it does not exist."""

import uuid
from typing import Final, NoReturn

from flask import abort, g
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action
from shared.tables import AuditEvent, Screening
from web.base.problems import Refused
from web.guard.access import sees_all
from web.http.problem_codes import ProblemCode
from web.languages.text import _

_OF_ONE_THAT_WAS_THERE: Final = (
    Action.IMAGE_VIEWED, Action.REVIEW_ADDED, Action.REVIEW_WITHDRAWN, Action.SCORE_ASKED,
)  # fmt: skip


def refuse_missing(db: Session, screening_id: uuid.UUID) -> NoReturn:
    """Answer 404 for an X-ray that the account cannot see."""
    if _was_deleted(db, screening_id):
        raise Refused(ProblemCode.DELETED, _("The X-ray %(id)s was deleted with its job.", id=screening_id))
    abort(404, _("There is no X-ray %(id)s.", id=screening_id))


def _was_deleted(db: Session, screening_id: uuid.UUID) -> bool:
    """Tell whether an X-ray existed and was deleted.

    Its row is gone, so the audit trail decides: somebody has opened it, or, for those who see only their own jobs, the
    account itself has.
    """
    if db.get(Screening, screening_id) is not None:
        return False
    traces = select(AuditEvent.id).where(
        AuditEvent.subject == str(screening_id), AuditEvent.action.in_(_OF_ONE_THAT_WAS_THERE)
    )
    if not sees_all(g.user):
        traces = traces.where(AuditEvent.user_id == g.user.id)
    return db.scalar(traces.limit(1)) is not None
