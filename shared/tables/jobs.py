"""Jobs, and the requests that brought their images."""

import uuid
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.tables.accounts import User
from shared.tables.definitions import by_value


class Source(StrEnum):
    """Where a job came from."""

    WEB = "web"
    API = "api"
    CLI = "cli"
    SAMPLES = "samples"
    DICOM = "dicom"
    FOLDER = "folder"
    SCHEDULE = "schedule"


class Priority(IntEnum):
    """Who goes first: someone waits for an interactive job."""

    INTERACTIVE = 0
    BULK = 1


_UNSEEN: Final = text("ended_at IS NOT NULL AND seen_at IS NULL")


class Job(Base):
    """One upload of one or many images."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("created_by_id", "idempotency_key"),
        Index(None, "created_by_id", "id"),
        # Conditions are written as each database's queries write them.
        Index("ix_jobs_watched", "id", sqlite_where=text("is_watched = 1"), postgresql_where=text("is_watched")),
        Index("ix_jobs_unseen", "created_by_id", "id", sqlite_where=_UNSEEN, postgresql_where=_UNSEEN),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(255))
    created_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    source: Mapped[Source] = mapped_column(by_value(Source))
    priority: Mapped[int] = mapped_column(SmallInteger)
    model_name: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    """Digest of the request under this key; another one is refused. Missing in rows older than the column."""
    expected_images: Mapped[int | None]
    """How many images the sender announced, for the total of a progress bar."""
    next_position: Mapped[int] = mapped_column(default=0)
    next_turn: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its upload ended; until then it accepts more images."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a request last received part of an upload to an open job, to a few seconds."""
    retried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When some of its images were last queued again."""
    is_watched: Mapped[bool] = mapped_column(default=True, server_default=false())
    """The sweep has yet to record its end (`shared.messages.endings`)."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the sweep saw that none of its images waits any more; missing in rows older than the column."""
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its sender was told on a page that it ended, or, where a program sent it, when it ended."""

    created_by: Mapped[User] = relationship()


class Upload(Base):
    """One request that added images to a job, so that repeating the request adds nothing."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("job_id", "idempotency_key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    idempotency_key: Mapped[str] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    first_position: Mapped[int | None]
    images: Mapped[int | None]
    """How many it added, at consecutive positions; with them its answer can be given again."""
    skipped: Mapped[int | None]
    """How many more were duplicates within the job. Missing in rows from before duplicates were left out."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
