"""Compare repeated requests: what came under an idempotency key is kept as a digest, and where its films begin.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.add_column("jobs", sa.Column("request_digest", sa.String(length=64), nullable=True))
    op.add_column("uploads", sa.Column("request_digest", sa.String(length=64), nullable=True))
    op.add_column("uploads", sa.Column("first_position", sa.Integer(), nullable=True))
    op.add_column("uploads", sa.Column("films", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    for name in ("films", "first_position", "request_digest"):
        op.drop_column("uploads", name)
    op.drop_column("jobs", "request_digest")
