"""Bury films before their files: what a deleted film leaves in the store is written down until it is removed.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "tombstones",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_tombstones")),
    )
    op.create_index(op.f("ix_tombstones_due_at"), "tombstones", ["due_at"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_index(op.f("ix_tombstones_due_at"), table_name="tombstones")
    op.drop_table("tombstones")
