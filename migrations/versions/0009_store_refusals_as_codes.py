"""Store refusals as a code and its parameters; the former sentences go.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # No batch in either direction: see 0002.
    op.drop_column("screenings", "error_message")
    op.add_column("screenings", sa.Column("error_details", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("screenings", "error_details")
    op.add_column("screenings", sa.Column("error_message", sa.Text(), nullable=True))
