"""The true label of an image by its readers, pneumonia or not: what a model is measured against."""

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
"""Findings other than these correspond to no label."""


class LeftOut(StrEnum):
    """Why reviews give no label."""

    INADEQUATE = "inadequate"
    SECOND_READER = "second_reader"
    OTHER = "other"
    """Something else was found, which is neither label."""
    DIFFER = "differ"
    """Readers name different labels."""


def label_of(review: Given) -> Label | LeftOut:
    """Return the label of one standing review, or why it has none."""
    if review.outcome is ReviewOutcome.INADEQUATE:
        return LeftOut.INADEQUATE
    if review.outcome is ReviewOutcome.OVERRULE:
        return LeftOut.OTHER if review.finding is None else FINDING_LABELS.get(review.finding, LeftOut.OTHER)
    if review.outcome is ReviewOutcome.AGREE and review.label is not None:
        return review.label
    return LeftOut.SECOND_READER


def truth_of(reviews: Iterable[Given]) -> Label | LeftOut | None:
    """Return the label on which the reviews of one image agree, or why there is none; None without reviews."""
    counted = standing(reviews)
    if not counted:
        return None
    state = state_of(counted)
    if state is ReviewState.SECOND_READER:
        return LeftOut.SECOND_READER
    if state is ReviewState.INADEQUATE:
        return LeftOut.INADEQUATE
    # A flag for a second reader who has reviewed since has no say itself.
    said = {label_of(review) for review in counted if review.outcome is not ReviewOutcome.SECOND_READER}
    if LeftOut.OTHER in said:
        return LeftOut.OTHER
    return said.pop() if len(said) == 1 else LeftOut.DIFFER
