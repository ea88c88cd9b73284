"""Add what worklist and jobs need: an index, saved views, an account's time zone and keys, an upload's sign of life.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.add_column("jobs", sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("time_zone", sa.String(length=64), nullable=True))
    op.add_column("users", sa.Column("has_shortcuts", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_saved_views_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_saved_views_user_id_name")),
    )
    op.create_index(
        "ix_screenings_worklist",
        "screenings",
        ["review_state", "p_pneumonia", "id", "label", "created_by_id", "model_id"],
        sqlite_where=sa.text("is_latest = 1 AND label IS NOT NULL"),
        postgresql_where=sa.text("is_latest AND label IS NOT NULL"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_screenings_worklist", table_name="screenings")
    op.drop_table("saved_views")
    op.drop_column("users", "has_shortcuts")
    op.drop_column("users", "time_zone")
    op.drop_column("jobs", "sent_at")
