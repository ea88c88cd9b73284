"""Index what the gate refused, which the worklist shows as outside the intended use.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0024, after 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

OF_THE_GATE = (
    "error_code IN ('cut_off', 'inverted', 'not_chest', 'not_frontal', 'outside_intended_use', 'rotated', "
    "'too_bright', 'too_dark')"
)


def upgrade() -> None:
    """Apply the change."""
    op.create_index(
        "ix_screenings_outside",
        "screenings",
        ["state", "is_latest", "id"],
        sqlite_where=sa.text(f"state = 'REJECTED' AND is_latest = 1 AND {OF_THE_GATE}"),
        postgresql_where=sa.text(f"state = 'REJECTED' AND is_latest AND {OF_THE_GATE}"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_screenings_outside", table_name="screenings")
