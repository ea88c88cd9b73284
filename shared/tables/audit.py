"""The audit trail and its head."""

import uuid
from datetime import datetime

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime, new_id, now


class AuditEvent(Base):
    """Who did what to what, when and from where. Append-only: triggers refuse any other change."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "actor", "sequence"),
        Index(None, "action", "sequence"),
        Index(None, "subject", "sequence"),
        Index(None, "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    sequence: Mapped[int] = mapped_column(BigInteger, unique=True)
    """Counts from 1 without a gap, in the order of the commits."""
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    actor: Mapped[str | None] = mapped_column(String(64))
    """The account's name at the time, or `os:` and the operating system's user at the command line."""
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    """Made by `shared.audit.chain.digest` over all other columns."""


class AuditHead(Base):
    """The newest row of the audit trail: a single row, which appends lock and update, so that a truncated end shows."""

    __tablename__ = "audit_heads"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, default=1)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
