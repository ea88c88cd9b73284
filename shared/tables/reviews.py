"""Readers' reviews of images, and who has one open."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.models.spec import Label
from shared.tables.accounts import User
from shared.tables.definitions import by_value


class ReviewOutcome(StrEnum):
    """What a reader says of an image; `withdrawn` takes back what the same reader said before."""

    AGREE = "agree"
    OVERRULE = "overrule"
    INADEQUATE = "inadequate"
    SECOND_READER = "second_reader"
    WITHDRAWN = "withdrawn"


class Finding(StrEnum):
    """What a reader who overrules the model found in its place."""

    NORMAL = "normal"
    BACTERIAL = "bacterial"
    VIRAL = "viral"
    UNCLEAR = "unclear"
    OTHER = "other"


class ReviewState(StrEnum):
    """What the standing reviews of an image amount to; `shared.reviews.standing` says how."""

    UNREAD = "unread"
    READ = "read"
    DISAGREED = "disagreed"
    SECOND_READER = "second_reader"
    INADEQUATE = "inadequate"


class Review(Base):
    """One reader's review of one image. Append-only (a trigger refuses changes); each reader's newest row counts."""

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("image_sha256", "number"),
        UniqueConstraint("user_id", "idempotency_key"),
        Index(None, "user_id", "image_sha256"),
        Index(None, "screening_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256", ondelete="CASCADE"))
    number: Mapped[int]
    """Counts the reviews of an image from 1: their order, independent of the clocks of several servers."""
    screening_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("screenings.id", ondelete="SET NULL"))
    """The screening in which it was read; missing once that job was deleted."""
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    outcome: Mapped[ReviewOutcome] = mapped_column(by_value(ReviewOutcome))
    finding: Mapped[Finding | None] = mapped_column(by_value(Finding))
    """Only for `overrule`."""
    note: Mapped[str | None] = mapped_column(Text)
    is_blind: Mapped[bool]
    """The reader had seen neither the model's prediction nor another's review."""
    model_name: Mapped[str | None] = mapped_column(String(64))
    model_version: Mapped[str | None] = mapped_column(String(64))
    """`ModelSpec.identity` of the prediction of this screening when it was read; None where there was none."""
    label: Mapped[Label | None] = mapped_column(by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    user: Mapped[User] = relationship()


class ImageClaim(Base):
    """Who has an image open, and when that expires unless the page renews it."""

    __tablename__ = "image_claims"
    __table_args__ = (Index(None, "expires_at"),)

    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()
