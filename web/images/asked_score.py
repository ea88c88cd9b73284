"""The score of an image that the gate stopped, for a reader who requests it anyway."""

import uuid
from dataclasses import dataclass
from typing import Final

from flask import abort, g, request
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from shared.audit.record import Action, record
from shared.queue import asked_scores
from shared.queue.tickets import try_send_tickets
from shared.refusals import Rejection
from shared.reviews.blind import is_hidden_from
from shared.tables import AskedScore, Screening
from web.base.blind import hides_from
from web.base.services import services
from web.guard.access import may_see
from web.images.missing import refuse_missing
from web.languages.text import N_, _


@dataclass(frozen=True)
class Words:
    """Texts about the score on the page of an image, in English."""

    title: str
    offer: str
    button: str
    warning: str
    """Beside the score."""


_AS_IT_IS: Final = Words(
    N_("Score anyway"),
    N_("The model is not made for this image, so its score may mean nothing."),
    N_("Screen it anyway"),
    N_("The model is not made for this image, so its answer may mean nothing."),
)
_PUT_RIGHT: Final[dict[str, Words]] = {
    Rejection.ROTATED: Words(
        N_("Score turned upright"),
        N_("The model can read this image turned upright; the file stays as it is."),
        N_("Screen it turned upright"),
        N_(
            "The model read this image turned upright, which nobody has checked. "
            "For a result, correct the file and send it again."
        ),
    ),
    Rejection.INVERTED: Words(
        N_("Score with black and white swapped"),
        N_("The model can read this image with black and white swapped; the file stays as it is."),
        N_("Screen it with black and white swapped"),
        N_(
            "The model read this image with black and white swapped, which nobody has checked. "
            "For a result, correct the file and send it again."
        ),
    ),
}
"""How an image is corrected before it is scored."""


def choose_words(error_code: str | None) -> Words:
    """Return the texts about the score of an image that the gate stopped with a code."""
    return _PUT_RIGHT.get(error_code or "", _AS_IT_IS)


def find(db: Session, screening_id: uuid.UUID) -> AskedScore | None:
    """Return a screening's requested score, with who requested it; None where nobody did."""
    query = select(AskedScore).options(joinedload(AskedScore.asked_by))
    return db.scalar(query.where(AskedScore.screening_id == screening_id))


def ask(screening_id: uuid.UUID) -> AskedScore:
    """Request the score of an image that the gate stopped, record that, and return its state.

    Answers 404 where the account may not know of the image, and 409 where it was not the gate that stopped it.
    """
    with services().database.write() as db:
        screening = seen(db, screening_id)
        if not asked_scores.can_be_asked(screening):
            said = _(
                "Only an image refused as unsuitable for the model can be screened anyway. See its state and its code."
            )
            abort(409, said)
        model = asked_scores.ask(db, screening, g.user.id)
        if model is not None:
            record(db, Action.SCORE_ASKED, user_id=g.user.id, subject=screening_id, address=request.remote_addr)
    if model is not None:
        try_send_tickets(services().tickets, model, 1)
    with services().database.read() as db:
        found = find(db, screening_id)
        if found is None:  # deleted meanwhile
            refuse_missing(db, screening_id)
        return found


def seen(db: Session, screening_id: uuid.UUID) -> Screening:
    """Return a screening; answer 404 where the account may not see it, 409 where it must first read it blind."""
    screening = db.scalar(select(Screening).join(Screening.job).where(Screening.id == screening_id, may_see(g.user)))
    if screening is None:
        refuse_missing(db, screening_id)
    hidden = select(Screening.id).where(Screening.id == screening_id, is_hidden_from(g.user))
    if hides_from(g.user) and db.scalar(hidden) is not None:
        said = _(
            "Another reader has read this X-ray. You see what the model and that reader say after you give your own "
            "review."
        )
        abort(409, said)
    return screening
