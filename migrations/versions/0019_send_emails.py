"""Let messages go to people as e-mails, and keep which of them each account wants.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

SQLite rewrites `messages`, which holds 30 days of them. An older sweep skips e-mails: it claims by webhook.

Revision: 0019, after 0018.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

WAITING = sa.text("state = 'waiting'")
DUE = ["webhook_id", "due_at"]


def upgrade() -> None:
    """Apply the change; accounts get no e-mail until they ask for it."""
    op.add_column("users", sa.Column("emails_job_finished", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("users", sa.Column("emails_image_flagged", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_users_emails_image_flagged",
        "users",
        ["id"],
        sqlite_where=sa.text("emails_image_flagged = 1"),
        postgresql_where=sa.text("emails_image_flagged"),
    )
    op.drop_index("ix_messages_due", table_name="messages")
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("user_id", sa.Uuid(), nullable=True))
        messages.add_column(sa.Column("email", sa.String(length=254), nullable=True))
        messages.alter_column("webhook_id", existing_type=sa.Uuid(), nullable=True)
        messages.create_foreign_key(
            op.f("fk_messages_user_id_users"), "users", ["user_id"], ["id"], ondelete="CASCADE"
        )
        messages.create_check_constraint(
            op.f("ck_messages_one_target"), "(webhook_id IS NULL) <> (user_id IS NULL)"
        )
    op.create_index("ix_messages_due", "messages", DUE, sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_index(op.f("ix_messages_user_id_created_at_id"), "messages", ["user_id", "created_at", "id"])


def downgrade() -> None:
    """Take the change back; e-mails are deleted."""
    op.execute("DELETE FROM messages WHERE webhook_id IS NULL")
    op.drop_index("ix_messages_user_id_created_at_id", table_name="messages")
    op.drop_index("ix_messages_due", table_name="messages")
    with op.batch_alter_table("messages") as messages:
        messages.drop_constraint(op.f("ck_messages_one_target"), type_="check")
        messages.drop_constraint(op.f("fk_messages_user_id_users"), type_="foreignkey")
        messages.alter_column("webhook_id", existing_type=sa.Uuid(), nullable=False)
        messages.drop_column("email")
        messages.drop_column("user_id")
    op.create_index("ix_messages_due", "messages", DUE, sqlite_where=WAITING, postgresql_where=WAITING)
    op.drop_index("ix_users_emails_image_flagged", table_name="users")
    op.drop_column("users", "emails_image_flagged")
    op.drop_column("users", "emails_job_finished")
