"""Reviews of an image: add, withdraw and list them. Rows are only added; none overwrites another reader's."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from shared.db import new_id
from shared.errors import NothingToWithdraw, NotReviewable, ReviewOutdated
from shared.idempotency import IdempotencyKey
from shared.models.spec import ImageClass, Label
from shared.reviews.latest import hold_images
from shared.reviews.standing import standing, state_of
from shared.reviews.truth import FINDING_LABELS
from shared.tables import Finding, Image, Model, Prediction, Review, ReviewOutcome, Screening, User

NOTE_LENGTH: Final = 4000


@dataclass(frozen=True)
class NewReview:
    """A reader's assessment of an image, and which of its reviews the reader had been shown."""

    outcome: ReviewOutcome
    finding: Finding | None = None
    note: str | None = None
    seen: uuid.UUID | None = None
    """The newest review that was shown; None where there was none."""


def add_review(
    session: Session,
    user: User,
    screening: Screening,
    new: NewReview,
    *,
    is_blind: bool = False,
    hides_others: bool = False,
    key: IdempotencyKey | None = None,
) -> Review:
    """Add a reader's review of the image of a screening, in the caller's transaction.

    `hides_others` says that the reader may not be shown others' reviews. With a key, call `find_repeated` before.
    Raises ReviewOutdated where another reader's came after the newest seen, unless those are hidden or `is_blind`;
    NotReviewable where there is no image, or no prediction to agree with.
    """
    sha256 = _hold(session, screening)
    before = list_reviews(session, sha256)
    if not (is_blind or hides_others):
        _check_seen(before, user, new.seen)
    prediction = _prediction_values(session, screening)
    if new.outcome is ReviewOutcome.AGREE and not prediction:
        raise NotReviewable("This X-ray has no result, so there is nothing to agree with.")
    return _write(session, user, screening, sha256, before, new=new, is_blind=is_blind, key=key, **prediction)


def withdraw(session: Session, user: User, screening: Screening, key: IdempotencyKey | None = None) -> Review:
    """Withdraw a reader's last review of the image of a screening; raise NothingToWithdraw where there is none.

    With a key, call `find_repeated` before.
    """
    sha256 = _hold(session, screening)
    before = list_reviews(session, sha256)
    own = [review for review in standing(before) if review.user_id == user.id]
    if not own:
        raise NothingToWithdraw("You have no review of this X-ray that could be undone.")
    new = NewReview(ReviewOutcome.WITHDRAWN)
    return _write(session, user, screening, sha256, before, new=new, is_blind=own[0].is_blind, key=key)


def list_reviews(session: Session, sha256: str) -> Sequence[Review]:
    """Return every review of an image, oldest first."""
    return reviews_of(session, [sha256]).get(sha256, [])


def counts(session: Session, review: Review) -> bool:
    """Tell whether a review is its reader's newest of the image and was not withdrawn."""
    return review.id in {one.id for one in standing(list_reviews(session, review.image_sha256))}


def reviews_of(session: Session, images: Collection[str]) -> dict[str, list[Review]]:
    """Return every review of images, by sha256; an image without any is left out."""
    if not images:
        return {}
    query = select(Review).options(joinedload(Review.user)).where(Review.image_sha256.in_(images))
    found: dict[str, list[Review]] = {}
    for review in session.scalars(query.order_by(Review.number)):
        found.setdefault(review.image_sha256, []).append(review)
    return found


def judge(finding: Finding, label: Label | None, cause: ImageClass | None) -> ReviewOutcome:
    """Tell whether a finding agrees with the model: in its label, and in the cause where both name one."""
    agrees = label is not None and FINDING_LABELS.get(finding) is label
    named = _CAUSES.get(cause) if cause else None
    if agrees and named and finding in _CAUSES.values():
        agrees = finding is named
    return ReviewOutcome.AGREE if agrees else ReviewOutcome.OVERRULE


_CAUSES: Final = {ImageClass.BACTERIAL: Finding.BACTERIAL, ImageClass.VIRAL: Finding.VIRAL}


def _hold(session: Session, screening: Screening) -> str:
    """Lock and return the image of a screening; until the transaction ends nobody else reviews, removes or sends it."""
    sha256 = session.scalar(select(Image.sha256).where(Image.id == screening.image_id))
    if sha256 is None or not hold_images(session, [sha256]):
        raise NotReviewable("This file was not kept, so there is no X-ray to review.")
    return sha256


def find_repeated(session: Session, user: User, screening: Screening, key: IdempotencyKey | None) -> Review | None:
    """Return the earlier review under a reader's key; raise KeyReused where that was another request.

    The image of the screening is locked for it: a concurrent identical request waits, and adds nothing.
    """
    if key is None:
        return None
    _hold(session, screening)
    known = select(Review).options(joinedload(Review.user))
    review = session.scalar(known.where(Review.user_id == user.id, Review.idempotency_key == key.text))
    if review is not None:
        key.check_repeated(review.request_digest)
    return review


def _check_seen(before: Sequence[Review], user: User, seen: uuid.UUID | None) -> None:
    last_seen = next((review.number for review in before if review.id == seen), 0)
    missed = [review for review in before if review.number > last_seen and review.user_id != user.id]
    if missed:
        raise ReviewOutdated(
            "%(name)s reviewed this X-ray meanwhile. Look at that review, then add your own.", name=missed[-1].user.name
        )


def _prediction_values(session: Session, screening: Screening) -> dict[str, Any]:
    """Return the model's prediction for a screening, as a review keeps it; empty where there is none."""
    columns = (
        Model.name.label("model_name"),
        Model.sha256.label("model_version"),
        Prediction.label,
        Prediction.p_pneumonia,
        Prediction.threshold,
    )
    query = select(*columns).join(Prediction, Prediction.model_id == Model.id)
    row = session.execute(query.where(Prediction.id == screening.prediction_id)).mappings().one_or_none()
    return dict(row) if row else {}


def _write(
    session: Session,
    user: User,
    screening: Screening,
    sha256: str,
    before: Sequence[Review],
    *,
    new: NewReview,
    is_blind: bool,
    key: IdempotencyKey | None,
    **prediction: Any,
) -> Review:
    review = Review(
        id=new_id(),
        image_sha256=sha256,
        number=before[-1].number + 1 if before else 1,
        screening_id=screening.id,
        user_id=user.id,
        outcome=new.outcome,
        finding=new.finding,
        note=new.note or None,
        is_blind=is_blind,
        **prediction,
        idempotency_key=key.text if key else None,
        request_digest=key.digest if key else None,
    )
    session.add(review)
    session.flush()
    session.refresh(review, ["user"])
    state = state_of([*before, review])
    session.execute(
        update(Screening)
        .where(Screening.image_id == screening.image_id, Screening.review_state != state)
        .values(review_state=state)
        .execution_options(synchronize_session=False)
    )
    return review
