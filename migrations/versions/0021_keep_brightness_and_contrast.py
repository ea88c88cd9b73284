"""Keep brightness and contrast of images with predictions.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0021, after 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    # No batch, as in 0002: both databases add and drop such a column in place.
    op.add_column("predictions", sa.Column("brightness", sa.SmallInteger(), nullable=True))
    op.add_column("predictions", sa.Column("contrast", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("predictions", "contrast")
    op.drop_column("predictions", "brightness")
