"""The page of one image: picture, result and how it came about, and readers' reviews."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from flask import Blueprint, flash, g, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.db import now
from shared.models.heatmap import decode
from shared.refusals import OF_THE_GATE
from shared.reviews import claims
from shared.reviews.reviews import NOTE_LENGTH, list_reviews
from shared.reviews.standing import standing
from shared.states import State
from shared.tables import (
    AskedScore,
    Finding,
    Image,
    ImageClaim,
    Model,
    Prediction,
    Review,
    ReviewOutcome,
    Screening,
)
from web.base.blind import hides_from
from web.base.contexts import PageContext, render
from web.base.numbers import duration
from web.base.prefetch import PURPOSE, is_fetched_ahead
from web.base.services import services
from web.guard.access import REVIEWERS, requires
from web.images import asked_score, review_requests
from web.images.card import Card, read_card
from web.images.heatmaps import SCALE, Stop
from web.images.missing import refuse_missing
from web.images.neighbours import Neighbours, find_elsewhere, find_neighbours, listed, prefetchable
from web.images.pictures import kept_key
from web.images.same_patient import SamePatient, find_same_patient
from web.languages.text import _
from web.lists.listing import ScreeningDetail, get_screening

blueprint = Blueprint("screenings", __name__)

_MOST_OF_PATIENT: Final = 20


@dataclass(frozen=True)
class ReviewPanel:
    """The reviews of an image and, for reviewers, a form."""

    may_review: bool
    own: Review | None
    others: Sequence[Review]
    seen: str
    """The id of the newest review, including withdrawn ones; empty where there is none."""
    newest_other: str
    """The same for other readers."""
    key: str
    """The form's idempotency key, so that submitting twice counts once."""
    shown: str
    """Says that the page shows the result to a reader who reads blind."""
    note: str
    note_length: int
    findings: Sequence[Finding]
    open_at: Sequence[str]
    """Who else has the image open."""


@dataclass(frozen=True)
class JustReviewed:
    """The previous image, and the review that led on from it."""

    screening: ScreeningDetail
    review: Review


@dataclass(frozen=True)
class ImagePage(PageContext):
    """One image with everything known about it."""

    template = "screenings/show.html"
    screening: ScreeningDetail
    total: int
    """How many images its job has."""
    neighbours: Neighbours
    ahead: uuid.UUID | None
    kept: str
    """The value of `kept` in the addresses of its pictures (`web.images.pictures.kept_key`)."""
    also: Sequence[Screening]
    same: SamePatient
    card: Card
    places: tuple[int, int] | None
    """Size of its heat map."""
    scale: Sequence[Stop]
    panel: ReviewPanel
    problem: str | None
    reviewed: JustReviewed | None
    is_of_the_gate: bool
    asked: AskedScore | None
    score_words: asked_score.Words
    fetched_ahead: bool
    """It is prefetched and may never be seen; it records a view only once it is shown (`js/shown.js`)."""
    reads_blind: bool
    """Its result may have to be hidden by the time it is shown."""


@blueprint.get("/screenings/<uuid:screening_id>")
@requires()
def show(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Show one image with everything known about it, between its neighbours in the list that it was opened from.

    A prefetched page claims nothing, and the audit trail says that it was prefetched. Once shown, it asks again.
    """
    response, ahead = make_response(render_image(screening_id)), is_fetched_ahead()
    response.headers["Speculation-Rules"] = f'"{url_for("static", filename="next.speculationrules")}"'
    # So that the next image, prerendered, serves both its link and the address that a review redirects to.
    response.headers["No-Vary-Search"] = 'params=("reviewed")'
    with services().database.write() as db:
        detail, address = PURPOSE if ahead else None, request.remote_addr
        record(db, Action.IMAGE_VIEWED, user_id=g.user.id, subject=screening_id, address=address, detail=detail)
        sha256 = db.scalar(select(Image.sha256).join(Screening).where(Screening.id == screening_id))
        if sha256 is not None and g.user.role in REVIEWERS and not ahead:
            claims.claim(db, g.user, sha256)
    return response


def render_image(screening_id: uuid.UUID, *, problem: str | None = None, note: str | None = None) -> str:
    """Render the page; `problem` says what was wrong with a review, and `note` is its note as typed."""
    with services().database.read() as db:
        screening = get_screening(db, g.user, screening_id)
        if screening is None:
            refuse_missing(db, screening_id)
        return render(_describe(db, screening, problem, note))


def _describe(db: Session, screening: ScreeningDetail, problem: str | None, note: str | None) -> ImagePage:
    neighbours = find_neighbours(db, screening)
    return ImagePage(
        screening=screening,
        total=db.scalar(select(func.count()).where(Screening.job_id == screening.job_id)) or 0,
        neighbours=neighbours,
        ahead=prefetchable(db, neighbours.next),
        kept=kept_key(),
        also=find_elsewhere(db, screening),
        same=find_same_patient(db, g.user, screening, _MOST_OF_PATIENT),
        card=read_card(_model_of(db, screening), screening.threshold),
        places=decode(screening.heat_map).size if screening.heat_map else None,
        scale=SCALE,
        panel=_panel(db, screening, note),
        problem=problem,
        reviewed=_just_reviewed(db),
        is_of_the_gate=screening.state is State.REJECTED and screening.error_code in OF_THE_GATE,
        asked=asked_score.find(db, screening.screening_id),
        score_words=asked_score.choose_words(screening.error_code),
        fetched_ahead=is_fetched_ahead(),
        reads_blind=hides_from(g.user),
    )


def say_open(other: ImageClaim) -> str:
    """Say who has an image open, and for how long."""
    since = now() - other.since
    if since < timedelta(minutes=1):
        return _("%(name)s has just opened this X-ray.", name=other.user.name)
    time = duration(since.total_seconds() // 60 * 60)
    return _("%(name)s has had this X-ray open for %(time)s.", name=other.user.name, time=time)


def _panel(db: Session, screening: ScreeningDetail, note: str | None) -> ReviewPanel:
    """Return the panel of reviews: the readers' reviews for all, and a form for reviewers."""
    every = [] if screening.is_hidden or screening.sha256 is None else list_reviews(db, screening.sha256)
    counted = standing(every)
    own = next((review for review in counted if review.user_id == g.user.id), None)
    may_review = g.user.role in REVIEWERS and screening.sha256 is not None
    return ReviewPanel(
        may_review=may_review,
        own=own,
        others=[review for review in counted if review is not own],
        seen=_newest(every),
        newest_other=_newest([review for review in every if review.user_id != g.user.id]),
        key=secrets.token_hex(16),
        shown=review_requests.mark_shown(screening),
        note=note if note is not None else _undone_note(every),
        note_length=NOTE_LENGTH,
        findings=_findings(screening),
        open_at=_open_at(db, screening) if may_review else [],
    )


def _newest(reviews: Sequence[Review]) -> str:
    return str(reviews[-1].id) if reviews else ""


def _undone_note(every: Sequence[Review]) -> str:
    """Return the note of the review that its reader has just undone, to be changed and sent again."""
    own = [review for review in every if review.user_id == g.user.id]
    is_undone = bool(own) and own[-1].outcome is ReviewOutcome.WITHDRAWN
    return next((review.note or "" for review in reversed(own[:-1])), "") if is_undone else ""


def _findings(screening: ScreeningDetail) -> list[Finding]:
    """Return findings that contradict the model; all of them where its answer is hidden or missing."""
    says_normal = screening.label is not None and screening.label.value == "NORMAL"
    return [finding for finding in Finding if not (says_normal and finding is Finding.NORMAL)]


def _open_at(db: Session, screening: ScreeningDetail) -> list[str]:
    return [say_open(other) for other in claims.claims_of_others(db, g.user, [screening.sha256 or ""])]


def _just_reviewed(db: Session) -> JustReviewed | None:
    """Return the review that led to this page, so that it can be undone from here."""
    key = request.args.get("reviewed", type=uuid.UUID)
    before = get_screening(db, g.user, key) if key else None
    if before is None:
        return None
    own = next((review for review in before.reviews if review.user_id == g.user.id), None)
    return JustReviewed(before, own) if own else None


@blueprint.post("/screenings/<uuid:screening_id>/score")
@requires()
def ask_score(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Request the score of an image that the gate stopped."""
    if asked_score.ask(screening_id).finished_at is None:
        flash(_("The model will read this image anyway. Its score will appear on this page only."), "info")
    return redirect(url_for("screenings.show", screening_id=screening_id, **listed()), 303)


def _model_of(db: Session, screening: ScreeningDetail) -> Model | None:
    """Return the model that answered."""
    query = select(Model).join(Prediction).join(Screening, Screening.prediction_id == Prediction.id)
    return db.scalar(query.where(Screening.id == screening.screening_id))
