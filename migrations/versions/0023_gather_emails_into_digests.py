"""Gather e-mails of an account into digests.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0023, after 0022.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

IN_ONE = sa.text("digest_id IS NOT NULL")


def upgrade() -> None:
    """Apply the change; messages already waiting are gathered as well."""
    # No batch, as in 0002: both databases add and drop such columns in place.
    op.add_column("users", sa.Column("emailed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("messages", sa.Column("digest_id", sa.Uuid(), nullable=True))
    op.create_index("ix_messages_digest_id", "messages", ["digest_id"], sqlite_where=IN_ONE, postgresql_where=IN_ONE)


def downgrade() -> None:
    """Take the change back; each message takes the state of its digest e-mail, and is sent on its own again."""
    op.execute(
        "UPDATE messages SET state = coalesce((SELECT first.state FROM messages AS first"
        " WHERE first.id = messages.digest_id), 'sent') WHERE state = 'gathered'"
    )
    op.drop_index("ix_messages_digest_id", table_name="messages")
    op.drop_column("messages", "digest_id")
    op.drop_column("users", "emailed_at")
