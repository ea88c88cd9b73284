"""Keep whose an image is, by a pseudonym, and of which day.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0020, after 0019.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

IS_KNOWN = sa.text("patient IS NOT NULL")


def upgrade() -> None:
    """Apply the change."""
    op.add_column("images", sa.Column("patient", sa.String(length=64), nullable=True))
    op.add_column("images", sa.Column("taken_on", sa.Date(), nullable=True))
    op.create_index("ix_images_patient", "images", ["patient"], sqlite_where=IS_KNOWN, postgresql_where=IS_KNOWN)


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_images_patient", "images")
    op.drop_column("images", "taken_on")
    op.drop_column("images", "patient")
