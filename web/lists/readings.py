"""The filter by reviews: its choices, their texts, and each as SQL."""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, exists, literal, select
from sqlalchemy.orm import aliased

from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.tables import Image, Review, ReviewOutcome, ReviewState, User, in_states
from web.languages.text import N_


class Reading(StrEnum):
    """The review status of an image."""

    UNREAD = "unread"
    MINE = "mine"
    OTHERS = "others"
    DISAGREED = "disagreed"
    SECOND_READER = "second_reader"
    INADEQUATE = "inadequate"
    OUTSIDE = "outside"


READINGS: Final[dict[Reading, str]] = {
    Reading.UNREAD: N_("Unread"),
    Reading.MINE: N_("Read by me"),
    Reading.OTHERS: N_("Read by others, not by me"),
    Reading.DISAGREED: N_("Disagreed"),
    Reading.SECOND_READER: N_("Waiting for a second reader"),
    Reading.INADEQUATE: N_("Technically inadequate"),
    Reading.OUTSIDE: N_("Outside the intended use"),
}


def _is_reviewed(screening: Any, *by: ColumnElement[bool]) -> ColumnElement[bool]:
    """Match images whose newest review by such a reader is not withdrawn."""
    later = aliased(Review)
    is_superseded = exists().where(
        later.image_sha256 == Review.image_sha256, later.user_id == Review.user_id, later.number > Review.number
    )
    return exists(
        select(Review.id)
        .join(Image, Image.sha256 == Review.image_sha256)
        .where(
            Image.id == screening.image_id,
            *by,
            Review.outcome != ReviewOutcome.WITHDRAWN,
            ~is_superseded,
        )
    )


def is_outside(screening: Any) -> ColumnElement[bool]:
    """Match the latest screening of images that the gate refused; literals, so that a partial index is used."""
    codes = [literal(code, String(), literal_execute=True) for code in sorted(OF_THE_GATE)]
    return and_(in_states([State.REJECTED], screening), screening.is_latest, screening.error_code.in_(codes))


def is_reviewed_by(name: str, screening: Any, _viewer: User) -> ColumnElement[bool]:
    """Match images whose newest review by an account, by name, is not withdrawn."""
    return _is_reviewed(screening, Review.user_id.in_(select(User.id).where(User.name == name)))


def is_read(reading: Reading, screening: Any, viewer: User) -> ColumnElement[bool]:
    """Match images with this review status, as the viewer sees it."""
    if reading is Reading.MINE:
        return _is_reviewed(screening, Review.user_id == viewer.id)
    if reading is Reading.OTHERS:
        own = Review.user_id == viewer.id
        return and_(_is_reviewed(screening, ~own), ~_is_reviewed(screening, own))
    if reading is Reading.OUTSIDE:
        return is_outside(screening)
    state: ColumnElement[bool] = screening.review_state == ReviewState(reading)
    return state
