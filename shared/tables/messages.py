"""Messages to webhooks and people: the outbox."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.tables.accounts import User
from shared.tables.definitions import by_value, partial_index


class MessageEvent(StrEnum):
    """What a message tells of."""

    JOB_FINISHED = "job.finished"
    IMAGE_FLAGGED = "image.flagged"
    TEST = "test"


class MessageState(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    GATHERED = "gathered"
    """Included in the e-mail of another message, see `shared.messages.digests`, which has the outcome."""


class Webhook(Base):
    """An address of another program that receives events; its secret is derived from a key outside the database."""

    __tablename__ = "webhooks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    url: Mapped[str] = mapped_column(String(1024))
    events: Mapped[list[str]] = mapped_column(JSON)
    """Values of `MessageEvent`."""
    salt: Mapped[str] = mapped_column(String(64))
    """Derives its secret together with the key; another salt gives another secret (`shared.messages.webhooks`)."""
    created_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when nothing is sent to it."""
    stopped_for: Mapped[str | None] = mapped_column(String(32))
    """Why: `paused` by a person, or a code of `shared.messages.problems`."""
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last accepted a message."""
    failures: Mapped[int] = mapped_column(default=0)
    """How many attempts in a row had no answer: those of the message that was tried most often meanwhile."""


class Message(Base):
    """A message to send to a webhook or, as an e-mail, to a person: the outbox.

    Rows are the truth; whoever holds the lease sends.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("(webhook_id IS NULL) <> (user_id IS NULL)", name="one_target"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "webhook_id", "created_at", "id"),
        partial_index("ix_messages_due", "webhook_id", "due_at", where=text("state = 'waiting'")),
        partial_index("ix_messages_digest_id", "digest_id", where=text("digest_id IS NOT NULL")),
        Index(None, "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The same for the same event and target, so that recording it twice adds one row."""
    webhook_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    event: Mapped[MessageEvent] = mapped_column(by_value(MessageEvent, 32))
    subject: Mapped[uuid.UUID | None]
    """Id of the job or of the screening, which may have been deleted."""
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Ids and counts; never a name, a picture or a result of one person's image."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    state: Mapped[MessageState] = mapped_column(by_value(MessageState))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it is to be sent, or sent again; while it is being sent, when it may be taken for lost."""
    give_up_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    lease_token: Mapped[uuid.UUID | None]
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[int | None]
    """The status of the last answer, of HTTP or SMTP; None without an answer."""
    problem: Mapped[str | None] = mapped_column(String(32))
    """A code of `shared.messages.problems`."""
    email: Mapped[str | None] = mapped_column(String(254))
    """Where an e-mail was last sent to; the account's address may have changed since."""
    digest_id: Mapped[uuid.UUID | None]
    """The message whose e-mail includes this one: its own id, or that of an earlier one.

    None for a webhook, for a test, and until an e-mail is made of the messages that wait for an account.
    """

    webhook: Mapped[Webhook | None] = relationship()
    user: Mapped[User | None] = relationship()
