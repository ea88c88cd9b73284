"""Count the X-rays of a job without a result by reason, so that one damaged scan stands out among hundreds."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.refusals import explain
from shared.states import State
from shared.tables import Screening, in_states
from web.languages.text import translate

HAVE_REASONS: Final = (State.REJECTED, State.FAILED)


@dataclass(frozen=True)
class Reason:
    """One reason, in the reader's language, and how many X-rays of the job have it."""

    code: str
    name: str
    images: int


def count_reasons(session: Session, job_id: uuid.UUID, state: State | None) -> Sequence[Reason]:
    """Count the X-rays of a state of a job by reason, the most frequent first; nothing for states without any.

    Reads every row of that state in the job.
    """
    if state not in HAVE_REASONS:
        return ()
    counted = (
        select(Screening.error_code, func.count())
        .where(Screening.job_id == job_id, in_states([state]), Screening.error_code.is_not(None))
        .group_by(Screening.error_code)
        .order_by(func.count().desc(), Screening.error_code)
    )
    rows = [(code, images) for code, images in session.execute(counted) if code is not None]
    return [Reason(code, explain(code, translate=translate).name, images) for code, images in rows]
