"""Add webhooks and the messages to them, and note when a job ended and that its sender was told.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UNSEEN = sa.text("ended_at IS NOT NULL AND seen_at IS NULL")
WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    """Apply the change; existing jobs are not watched, so no message announces their end."""
    op.add_column("jobs", sa.Column("is_watched", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_watched",
        "jobs",
        ["id"],
        sqlite_where=sa.text("is_watched = 1"),
        postgresql_where=sa.text("is_watched"),
    )
    op.create_index("ix_jobs_unseen", "jobs", ["created_by_id", "id"], sqlite_where=UNSEEN, postgresql_where=UNSEEN)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.String(length=1024), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_for", sa.String(length=32), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_webhooks_created_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column(
            "event",
            sa.Enum("job.finished", "image.flagged", "test", name="messageevent", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("subject", sa.Uuid(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "state",
            sa.Enum("waiting", "sent", "failed", name="messagestate", native_enum=False, length=16),
            nullable=False,
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.Integer(), nullable=True),
        sa.Column("problem", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_messages_webhook_id_webhooks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_webhook_id_created_at_id"), "messages", ["webhook_id", "created_at", "id"])
    op.create_index(op.f("ix_messages_created_at"), "messages", ["created_at"])
    columns = ["webhook_id", "due_at"]
    op.create_index("ix_messages_due", "messages", columns, sqlite_where=WAITING, postgresql_where=WAITING)


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("messages")
    op.drop_table("webhooks")
    op.drop_index("ix_jobs_unseen", table_name="jobs")
    op.drop_index("ix_jobs_watched", table_name="jobs")
    op.drop_column("jobs", "seen_at")
    op.drop_column("jobs", "ended_at")
    op.drop_column("jobs", "is_watched")
