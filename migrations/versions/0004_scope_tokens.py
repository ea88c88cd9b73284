"""Give tokens scopes, and keep sessions and refused sign-ins in tables.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0004, after 0003.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # Columns are added and dropped in place, not in a batch, for the reason that 0002 gives. Existing tokens could do
    # all that their account could, and keep those rights.
    op.add_column("api_tokens", sa.Column("scope", sa.String(64), nullable=False, server_default="admin read submit"))
    op.add_column("api_tokens", sa.Column("last_used_on", sa.Date(), nullable=True))
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("user_agent", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])
    op.create_table(
        "sign_in_failures",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_failures")),
    )
    op.create_index(op.f("ix_sign_in_failures_latest_at"), "sign_in_failures", ["latest_at"])
    op.drop_column("users", "session_epoch")


def downgrade() -> None:
    """Take the change back. Without scopes a token could do all that its account may, so one that could not is revoked."""
    tokens = sa.table("api_tokens", sa.column("scope"), sa.column("revoked_at", sa.DateTime(timezone=True)))
    is_narrow = sa.or_(*(tokens.c.scope.not_like(f"%{scope}%") for scope in ("admin", "read", "submit")))
    op.execute(
        sa.update(tokens).where(tokens.c.revoked_at.is_(None), is_narrow).values(revoked_at=datetime.now(UTC))
    )
    op.add_column("users", sa.Column("session_epoch", sa.Integer(), nullable=False, server_default="0"))
    op.drop_table("sign_in_failures")
    op.drop_table("sessions")
    op.drop_column("api_tokens", "last_used_on")
    op.drop_column("api_tokens", "scope")
