"""Add what administrators put in force, and the scores of shadow models.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0018, after 0017.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

WAITING = sa.text("finished_at IS NULL")


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "activations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "default_model", "threshold", "shadow_model", name="activationkind", native_enum=False, length=16
            ),
            nullable=False,
        ),
        sa.Column("model_name", sa.String(length=64), nullable=True),
        sa.Column("calibration", sa.String(length=64), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
        sa.UniqueConstraint("number", name=op.f("uq_activations_number")),
    )
    op.create_index(
        op.f("ix_activations_kind_model_name_number"), "activations", ["kind", "model_name", "number"]
    )
    op.create_table(
        "shadow_scores",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prediction_id", sa.Uuid(), nullable=False),
        sa.Column("model_name", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("model_version", sa.String(length=64), nullable=True),
        sa.Column("label", sa.Enum("NORMAL", "PNEUMONIA", name="label", native_enum=False, length=16), nullable=True),
        sa.Column("p_pneumonia", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.id"],
            name=op.f("fk_shadow_scores_prediction_id_predictions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_scores")),
        sa.UniqueConstraint("prediction_id", "model_name", name=op.f("uq_shadow_scores_prediction_id_model_name")),
    )
    op.create_index(
        op.f("ix_shadow_scores_model_name_prediction_id"), "shadow_scores", ["model_name", "prediction_id"]
    )
    columns = ["model_name", "id"]
    op.create_index(
        "ix_shadow_scores_waiting", "shadow_scores", columns, sqlite_where=WAITING, postgresql_where=WAITING
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("shadow_scores")
    op.drop_table("activations")
