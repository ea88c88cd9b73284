"""The standing reviews of one image: the newest of each reader counts, unless it was withdrawn."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from shared.models.spec import Label
from shared.tables import Finding, ReviewOutcome, ReviewState


class Given(Protocol):
    """The fields of a review that decide whether it counts."""

    number: int
    """Its place among the reviews of the image."""
    user_id: uuid.UUID
    outcome: ReviewOutcome
    finding: Finding | None
    label: Label | None
    """The model's label for the screening that was read."""


G = TypeVar("G", bound=Given)


def standing(reviews: Iterable[G]) -> list[G]:
    """Return the reviews that count, oldest first: the newest of each reader unless that one was withdrawn."""
    newest = {review.user_id: review for review in sorted(reviews, key=lambda review: review.number)}
    counted = [review for review in newest.values() if review.outcome is not ReviewOutcome.WITHDRAWN]
    return sorted(counted, key=lambda review: review.number)


def state_of(reviews: Iterable[Given]) -> ReviewState:
    """Return the state of one image's reviews, whatever their order.

    A flag for a second reader holds until another reader's later review. Otherwise a review that calls the image
    inadequate takes precedence, then disagreement: with a model that had answered, or between readers.
    """
    counted = standing(reviews)
    if not counted:
        return ReviewState.UNREAD
    if any(_waits(review, counted) for review in counted):
        return ReviewState.SECOND_READER
    outcomes = {review.outcome for review in counted}
    if ReviewOutcome.INADEQUATE in outcomes:
        return ReviewState.INADEQUATE
    return ReviewState.DISAGREED if _differ(counted) else ReviewState.READ


def _differ(counted: Sequence[Given]) -> bool:
    agreed = {review.label for review in counted if review.outcome is ReviewOutcome.AGREE}
    overruled = [review for review in counted if review.outcome is ReviewOutcome.OVERRULE]
    found = {review.finding for review in overruled}
    return len(agreed) > 1 or len(found) > 1 or any(review.label is not None for review in overruled)


def _waits(flag: Given, counted: Sequence[Given]) -> bool:
    """Tell whether a review asks for another reader and none has reviewed since."""
    if flag.outcome is not ReviewOutcome.SECOND_READER:
        return False
    return all(other.user_id == flag.user_id or other.number < flag.number for other in counted)
