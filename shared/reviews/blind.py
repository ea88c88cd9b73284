"""Blind second reading: an image that only others have read shows a reader neither prediction nor review."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, false, select
from sqlalchemy.orm import Session, aliased

from shared.tables import Image, Review, ReviewState, Role, Screening, User


def reads_blind(user: User) -> bool:
    """Tell whether blind second reading applies to an account; administrators see everything."""
    return user.role is Role.READER


def is_hidden_from(user: User, screening: Any = Screening) -> ColumnElement[bool]:
    """Match screenings whose prediction and reviews an account may not see yet.

    Whoever has reviewed an image has seen all of it, even if the review was withdrawn.
    """
    if not reads_blind(user):
        return false()
    own = aliased(Review)
    has_own = (
        select(own.id)
        .join(Image, Image.sha256 == own.image_sha256)
        .where(own.user_id == user.id, Image.id == screening.image_id)
        .exists()
    )
    return and_(screening.review_state != ReviewState.UNREAD, ~has_own)


def shown_to(blind_for: User | None) -> tuple[ColumnElement[bool], ...]:
    """Match screenings whose prediction may be counted for `blind_for`, who reads blind; None sees all of them."""
    return () if blind_for is None else (~is_hidden_from(blind_for),)


def has_said(user: User, sha256: Any) -> ColumnElement[bool]:
    """Match images, by sha256, that an account has reviewed, so that nothing of them is hidden from it."""
    own = aliased(Review)
    return select(own.id).where(own.image_sha256 == sha256, own.user_id == user.id).exists()


def hidden_images(session: Session, user: User, images: Collection[str]) -> set[str]:
    """Return which of these images, by sha256, are hidden from an account."""
    if not images or not reads_blind(user):
        return set()
    query = select(Image.sha256).join(Screening, Screening.image_id == Image.id)
    return set(session.scalars(query.where(Image.sha256.in_(images), is_hidden_from(user)).distinct()))
