"""Keep scores that a reader asked for although the gate had stopped the image.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WAITING = sa.text("finished_at IS NULL")


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "asked_scores",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("screening_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(length=64), nullable=False),
        sa.Column("asked_by_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_by", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("model", sa.String(length=80), nullable=True),
        sa.Column("label", sa.Enum("NORMAL", "PNEUMONIA", name="label", native_enum=False, length=16), nullable=True),
        sa.Column("p_pneumonia", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error_details", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["asked_by_id"], ["users.id"], name=op.f("fk_asked_scores_asked_by_id_users")),
        sa.ForeignKeyConstraint(
            ["screening_id"],
            ["screenings.id"],
            name=op.f("fk_asked_scores_screening_id_screenings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asked_scores")),
        sa.UniqueConstraint("screening_id", name=op.f("uq_asked_scores_screening_id")),
    )
    op.create_index(
        "ix_asked_scores_waiting",
        "asked_scores",
        ["model_name", "asked_at"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_index("ix_asked_scores_waiting", table_name="asked_scores")
    op.drop_table("asked_scores")
