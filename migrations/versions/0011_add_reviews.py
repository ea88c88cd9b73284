"""Add reviews, and to screenings whether they are the latest of their image and what its reviews amount to.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0011, after 0010.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PART = 10_000

_OUTCOMES = ("agree", "overrule", "inadequate", "second_reader", "withdrawn")
_FINDINGS = ("normal", "bacterial", "viral", "unclear", "other")
_STATES = ("unread", "read", "disagreed", "second_reader", "inadequate")

_screenings = sa.table(
    "screenings",
    *[sa.column(name, sa.Uuid()) for name in ("id", "job_id", "image_id")],
    sa.column("is_latest", sa.Boolean()),
)
_jobs = sa.table("jobs", sa.column("id", sa.Uuid()), sa.column("model_name", sa.String()))


def upgrade() -> None:
    """Apply the change."""
    # In place, as in 0002: a batch would copy the largest of all tables.
    state = sa.Enum(*_STATES, name="reviewstate", native_enum=False, length=16)
    op.add_column("screenings", sa.Column("is_latest", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("screenings", sa.Column("review_state", state, nullable=False, server_default="unread"))
    _clear_superseded()
    op.create_index("ix_screenings_image_id_is_latest", "screenings", ["image_id", "is_latest"])
    op.drop_index("ix_screenings_image_id", table_name="screenings")
    _create_reviews()
    op.create_table(
        "image_claims",
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_sha256"],
            ["images.sha256"],
            name=op.f("fk_image_claims_image_sha256_images"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_image_claims_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_sha256", "user_id", name=op.f("pk_image_claims")),
    )
    op.create_index(op.f("ix_image_claims_expires_at"), "image_claims", ["expires_at"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("image_claims")
    op.drop_table("reviews")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_review_change()")
    op.create_index("ix_screenings_image_id", "screenings", ["image_id"])
    op.drop_index("ix_screenings_image_id_is_latest", table_name="screenings")
    op.drop_column("screenings", "review_state")
    op.drop_column("screenings", "is_latest")


def _create_reviews() -> None:
    label = sa.Enum("NORMAL", "PNEUMONIA", name="label", native_enum=False, length=16)
    op.create_table(
        "reviews",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("screening_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "outcome", sa.Enum(*_OUTCOMES, name="reviewoutcome", native_enum=False, length=16), nullable=False
        ),
        sa.Column("finding", sa.Enum(*_FINDINGS, name="finding", native_enum=False, length=16), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("is_blind", sa.Boolean(), nullable=False),
        sa.Column("model_name", sa.String(length=64), nullable=True),
        sa.Column("model_version", sa.String(length=64), nullable=True),
        sa.Column("label", label, nullable=True),
        sa.Column("p_pneumonia", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=128), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_sha256"], ["images.sha256"], name=op.f("fk_reviews_image_sha256_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["screening_id"], ["screenings.id"], name=op.f("fk_reviews_screening_id_screenings"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_reviews_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint("image_sha256", "number", name=op.f("uq_reviews_image_sha256_number")),
        sa.UniqueConstraint("user_id", "idempotency_key", name=op.f("uq_reviews_user_id_idempotency_key")),
    )
    op.create_index(op.f("ix_reviews_user_id_image_sha256"), "reviews", ["user_id", "image_sha256"])
    op.create_index(op.f("ix_reviews_screening_id"), "reviews", ["screening_id"])
    _refuse_changes()


_MESSAGE = "A review is not changed: add another one."
# All but screening_id, which deleting a job sets to NULL. Rows are deleted with their image, so deletion is allowed.
_KEPT = (
    "id, image_sha256, number, user_id, outcome, finding, note, is_blind, model_name, model_version, label, "
    "p_pneumonia, threshold, idempotency_key, request_digest, created_at"
)


def _refuse_changes() -> None:
    when = f"BEFORE UPDATE OF {_KEPT} ON reviews"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER reviews_update {when} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END")
        return
    op.execute(
        "CREATE FUNCTION refuse_review_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_MESSAGE}'; END $$"
    )
    op.execute(f"CREATE TRIGGER reviews_update {when} FOR EACH STATEMENT EXECUTE FUNCTION refuse_review_change()")


def _clear_superseded() -> None:
    """Keep the flag only on the latest screening of each image by each model, part by part."""
    key = _screenings.c.id
    first = _scalar(sa.select(key).order_by(key).limit(1))
    while first is not None:
        end = _scalar(sa.select(key).where(key >= first).order_by(key).offset(PART).limit(1))
        op.get_bind().execute(_clear_part(first, end))
        first = end


def _clear_part(first: Any, end: Any) -> sa.Update:
    later, its_job, job = _screenings.alias(), _jobs.alias(), _jobs.alias()
    is_superseded = sa.exists().where(
        job.c.id == _screenings.c.job_id,
        later.c.image_id == _screenings.c.image_id,
        later.c.id > _screenings.c.id,
        its_job.c.id == later.c.job_id,
        its_job.c.model_name == job.c.model_name,
    )
    part = [_screenings.c.id >= first, *([_screenings.c.id < end] if end is not None else [])]
    return sa.update(_screenings).where(*part, is_superseded).values(is_latest=sa.false())


def _scalar(query: sa.Select[Any]) -> Any:
    return op.get_bind().execute(query).scalar()
