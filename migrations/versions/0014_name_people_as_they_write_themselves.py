"""Keep a person's name in any script and an e-mail address beside the login name.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # No batch in either direction: see 0002.
    op.add_column("users", sa.Column("display_name", sa.String(128), nullable=True))
    op.add_column("users", sa.Column("email", sa.String(254), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("users", "email")
    op.drop_column("users", "display_name")
