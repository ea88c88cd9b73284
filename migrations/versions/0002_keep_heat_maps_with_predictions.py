"""Keep heat maps with predictions.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # No batch in either direction: SQLite (3.35 and later) adds and drops a column in place, whereas a batch would copy
    # the table and then drop the old one, which films refer to.
    op.add_column("predictions", sa.Column("heat_map", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("predictions", "heat_map")
