"""Lead lists by indexes: screenings keep copies of what lists are filtered and ordered by.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0007, after 0006.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PART = 10_000

_LABELLED = "label IS NOT NULL"
_INDEXES = {
    "ix_screenings_prediction_id": (["prediction_id"], "prediction_id IS NOT NULL"),
    "ix_screenings_progress": (["job_id", "state", "position", "started_at", "finished_at"], None),
    "ix_screenings_waiting": (["priority", "turn", "id", "created_by_id"], "state = 'QUEUED'"),
    "ix_screenings_sent": (["created_by_id", "id"], None),
    "ix_screenings_answers": (["label", "model_id", "id", "created_by_id", "p_pneumonia"], _LABELLED),
    "ix_screenings_suspicion": (["label", "p_pneumonia", "id", "created_by_id", "model_id"], _LABELLED),
    "ix_screenings_job_suspicion": (["job_id", "label", "p_pneumonia", "id"], _LABELLED),
    "ix_screenings_unanswered": (
        ["state", "id", "created_by_id"],
        "state = 'REJECTED' OR state = 'FAILED' OR state = 'CANCELLED'",
    ),
}
_COPIES = ("model_id", "label", "p_pneumonia")

_screenings = sa.table(
    "screenings",
    *[sa.column(name, sa.Uuid()) for name in ("id", "job_id", "prediction_id", "created_by_id")],
    *[sa.column(name) for name in _COPIES],
)
_jobs = sa.table("jobs", sa.column("id", sa.Uuid()), sa.column("created_by_id", sa.Uuid()))
_predictions = sa.table("predictions", sa.column("id", sa.Uuid()), *[sa.column(name) for name in _COPIES])


def upgrade() -> None:
    """Apply the change."""
    label = sa.Enum("NORMAL", "PNEUMONIA", name="label", native_enum=False, length=16)
    # In place, as in 0002: a batch would copy the largest of all tables.
    for column in (
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("label", label, nullable=True),
        sa.Column("p_pneumonia", sa.Double(), nullable=True),
    ):
        op.add_column("screenings", column)
    # Before the copies are made, so that none is written to an index about to be dropped.
    op.drop_index("ix_screenings_job_id_state", table_name="screenings")
    op.drop_index("ix_screenings_prediction_id", table_name="screenings")
    op.drop_index("ix_screenings_waiting", table_name="screenings")
    op.drop_index("ix_predictions_p_pneumonia_id", table_name="predictions")
    _copy()
    for name, (columns, where) in _INDEXES.items():
        only = sa.text(where) if where else None
        op.create_index(name, "screenings", columns, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    """Take the change back."""
    for name in _INDEXES:
        op.drop_index(name, table_name="screenings")
    op.create_index("ix_predictions_p_pneumonia_id", "predictions", ["p_pneumonia", "id"])
    op.create_index("ix_screenings_prediction_id", "screenings", ["prediction_id"])
    op.create_index("ix_screenings_job_id_state", "screenings", ["job_id", "state"])
    waits = sa.text("state = 'QUEUED'")
    waiting = ["priority", "turn", "id"]
    op.create_index("ix_screenings_waiting", "screenings", waiting, sqlite_where=waits, postgresql_where=waits)
    for name in ("created_by_id", *_COPIES):
        op.drop_column("screenings", name)


def _copy() -> None:
    key = _screenings.c.id
    first = _scalar(sa.select(key).order_by(key).limit(1))
    while first is not None:
        end = _scalar(sa.select(key).where(key >= first).order_by(key).offset(PART).limit(1))
        op.get_bind().execute(_copy_part(first, end))
        first = end


def _copy_part(first: Any, end: Any) -> sa.Update:
    """Update each row only once: PostgreSQL keeps the old version of a changed row until it is vacuumed."""
    before = _screenings.alias()
    query = (
        sa.select(before.c.id, _jobs.c.created_by_id, *[_predictions.c[name] for name in _COPIES])
        .select_from(before)
        .join(_jobs, _jobs.c.id == before.c.job_id)
        .outerjoin(_predictions, _predictions.c.id == before.c.prediction_id)
        .where(before.c.id >= first)
    )
    if end is not None:
        query = query.where(before.c.id < end)
    found = query.subquery()
    values = {name: found.c[name] for name in ("created_by_id", *_COPIES)}
    return sa.update(_screenings).where(_screenings.c.id == found.c.id).values(values)


def _scalar(query: sa.Select[Any]) -> Any:
    return op.get_bind().execute(query).scalar()
