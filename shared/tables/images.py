"""Images by their content, and the tombstones of deleted ones."""

import uuid
from datetime import date, datetime

from sqlalchemy import BigInteger, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime, new_id, now
from shared.tables.definitions import partial_index


class Image(Base):
    """One distinct image, by content."""

    __tablename__ = "images"
    __table_args__ = (partial_index("ix_images_patient", "patient", where=text("patient IS NOT NULL")),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    media_type: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    patient: Mapped[str | None] = mapped_column(String(64))
    """The patient's pseudonym from `shared.intake.pseudonyms`; it is compared and never disclosed."""
    taken_on: Mapped[date | None]
    """The day of the X-ray by its header; only where the patient is known."""


class Tombstone(Base):
    """An image whose row was deleted and whose files are still to be; `shared.queue.retention` removes both."""

    __tablename__ = "tombstones"
    __table_args__ = (Index(None, "due_at"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When no upload that stored the same image can still be under way."""
