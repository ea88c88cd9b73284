"""Accounts, and their credentials: passwords, links, sessions, tokens and identities."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.tables.definitions import by_value


class Role(StrEnum):
    """What an account may do: technicians upload and see their own jobs, readers see all, admins govern."""

    TECHNICIAN = "technician"
    READER = "reader"
    ADMIN = "admin"


class Scope(StrEnum):
    """What an API token may be used for; it never gives more than its account's role."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


class User(Base):
    """A person's account."""

    __tablename__ = "users"
    __table_args__ = (
        # Queried with every micro-batch. Conditions are written as each database's queries write them.
        Index(
            "ix_users_emails_image_flagged",
            "id",
            sqlite_where=text("emails_image_flagged = 1"),
            postgresql_where=text("emails_image_flagged"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """The login name."""
    display_name: Mapped[str | None] = mapped_column(String(128))
    """The person's name as written, in any script."""
    email: Mapped[str | None] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(by_value(Role))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    time_zone: Mapped[str | None] = mapped_column(String(64))
    """An IANA name; days and times are read and shown in it. None for that of the browser."""
    language: Mapped[str | None] = mapped_column(String(16))
    """Language code of the pages, see `web.languages`; None for that of the browser."""
    emails_job_finished: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The person wants an e-mail when a job of theirs has finished."""
    emails_image_flagged: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The person wants one when an image is flagged that they may see: readers and admins."""
    emailed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the mail server last accepted an e-mail about jobs to the account, or rejected it permanently."""
    has_shortcuts: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether single-key shortcuts work on pages (WCAG 2.1.4 requires that they can be turned off)."""

    @property
    def shown_name(self) -> str:
        """Return the name to show: the display name, else the login name."""
        return self.display_name or self.name


class Identity(Base):
    """A user of an identity provider, and the account that this opens; never matched by name or e-mail."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255))
    """At most 255 characters (OpenID Connect Core 1.0, section 2)."""
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class SavedView(Base):
    """Filters of the worklist that an account saved under a name."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    arguments: Mapped[dict[str, str]] = mapped_column(JSON)
    """As in a query string (`web.lists.filters`)."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class SignInLink(Base):
    """A one-time link that signs its user in; only its hash is stored."""

    __tablename__ = "sign_in_links"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BrowserSession(Base):
    """A signed-in browser; ending the session deletes its row."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    address: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class SignInFailure(Base):
    """How often sign-in was refused for one account, browser or address, kept while it delays the next attempt."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index(None, "latest_at"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A keyed hash: people type passwords into the field for the name."""
    failures: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    latest_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiToken(Base):
    """An API token; shown once, stored as a hash."""

    __tablename__ = "api_tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(64))
    """Its scopes, separated by spaces as in RFC 6749, section 3.3."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_on: Mapped[date | None]

    user: Mapped[User] = relationship()

    @property
    def scopes(self) -> frozenset[Scope]:
        """Return the scopes of the token."""
        return frozenset(map(Scope, self.scope.split()))
