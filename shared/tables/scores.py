"""Scores besides the screenings: those that a reader requested, and those of a shadow model."""

import uuid
from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.models.spec import Label
from shared.refusals import Details
from shared.tables.accounts import User
from shared.tables.definitions import by_value, partial_index


class AskedScore(Base):
    """A score that a reader requested although the gate stopped the image; no prediction, and in no list."""

    __tablename__ = "asked_scores"
    __table_args__ = (
        partial_index("ix_asked_scores_waiting", "model_name", "asked_at", where=text("finished_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    screening_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("screenings.id", ondelete="CASCADE"), unique=True)
    model_name: Mapped[str] = mapped_column(String(64))
    asked_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stopped_by: Mapped[str] = mapped_column(String(32))
    """Code under which the gate stopped the image."""
    attempts: Mapped[int] = mapped_column(SmallInteger)
    """How often a worker claimed it."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    model: Mapped[str | None] = mapped_column(String(80))
    """Name and first digits of the sha256 of the model that answered."""
    label: Mapped[Label | None] = mapped_column(by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(32))
    """Why there is no score although it was requested."""
    error_details: Mapped[Details | None] = mapped_column(JSON(none_as_null=True))

    asked_by: Mapped[User] = relationship()


class ShadowScore(Base):
    """A shadow model's score of an image that another model answered: for comparison, no prediction, in no list."""

    __tablename__ = "shadow_scores"
    __table_args__ = (
        UniqueConstraint("prediction_id", "model_name"),
        partial_index("ix_shadow_scores_waiting", "model_name", "id", where=text("finished_at IS NULL")),
        Index(None, "model_name", "prediction_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    prediction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"))
    """The prediction that it is compared with, which also gives the image."""
    model_name: Mapped[str] = mapped_column(String(64))
    """Name of the shadow model."""
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    """How often a worker claimed it."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    model_version: Mapped[str | None] = mapped_column(String(64))
    """`ModelSpec.identity` of the model that answered."""
    label: Mapped[Label | None] = mapped_column(by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(32))
    """Why there is no score."""
