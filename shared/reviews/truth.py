"""What an image shows by its readers' word, pneumonia or not: the label that a model is measured against."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from shared.models.spec import Label
from shared.reviews.standing import Given, standing, state_of
from shared.tables import Finding, ReviewOutcome, ReviewState

FINDING_LABELS: Final = {
    Finding.NORMAL: Label.NORMAL,
    Finding.BACTERIAL: Label.PNEUMONIA,
    Finding.VIRAL: Label.PNEUMONIA,
    Finding.UNCLEAR: Label.PNEUMONIA,
}
"""A finding other than these agrees with no label."""


class LeftOut(StrEnum):
    """Why reviews give no label."""

    INADEQUATE = "inadequate"
    SECOND_READER = "second_reader"
    OTHER = "other"
    """Something else was found, which is neither label."""
    DIFFER = "differ"
    """Readers name different labels."""


def label_of(review: Given) -> Label | LeftOut:
    """Return the label that one standing review names, or why it names none."""
    if review.outcome is ReviewOutcome.INADEQUATE:
        return LeftOut.INADEQUATE
    if review.outcome is ReviewOutcome.OVERRULE:
        return LeftOut.OTHER if review.finding is None else FINDING_LABELS.get(review.finding, LeftOut.OTHER)
    if review.outcome is ReviewOutcome.AGREE and review.label is not None:
        return review.label
    return LeftOut.SECOND_READER


def truth_of(reviews: Iterable[Given]) -> Label | LeftOut | None:
    """Return the label that the reviews of one image amount to, or why there is none; None where nothing was said."""
    counted = standing(reviews)
    if not counted:
        return None
    state = state_of(counted)
    if state is ReviewState.SECOND_READER:
        return LeftOut.SECOND_READER
    if state is ReviewState.INADEQUATE:
        return LeftOut.INADEQUATE
    # A flag for a second reader who has come meanwhile says nothing itself.
    said = {label_of(review) for review in counted if review.outcome is not ReviewOutcome.SECOND_READER}
    if LeftOut.OTHER in said:
        return LeftOut.OTHER
    return said.pop() if len(said) == 1 else LeftOut.DIFFER
