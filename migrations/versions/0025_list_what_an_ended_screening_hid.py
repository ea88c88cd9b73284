"""Give the flag of the latest screening back to results that a cancelled or failed one had taken from the worklist.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0025, after 0024.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

PART = 1000

_screenings = sa.table(
    "screenings",
    sa.column("id", sa.Uuid()),
    sa.column("job_id", sa.Uuid()),
    sa.column("image_id", sa.Uuid()),
    sa.column("state", sa.String()),
    sa.column("is_latest", sa.Boolean()),
)
_jobs = sa.table("jobs", sa.column("id", sa.Uuid()), sa.column("model_name", sa.String()))


def upgrade() -> None:
    """Apply the change."""
    for state in ("CANCELLED", "FAILED"):
        for images in _hiding(state):
            op.get_bind().execute(_choose(images))


def downgrade() -> None:
    """Take the change back: nothing, since every image still has one latest screening by each model."""


def _hiding(state: str) -> Iterator[Sequence[Any]]:
    """Yield the images whose latest screening ended in this state, part by part."""
    last = None
    while True:
        key = _screenings.c.id
        query = sa.select(key, _screenings.c.image_id).where(_screenings.c.state == state, _screenings.c.is_latest)
        query = query.where(_screenings.c.image_id.is_not(None), *([key > last] if last is not None else []))
        rows = op.get_bind().execute(query.order_by(key).limit(PART)).all()
        if not rows:
            return
        yield list({row.image_id for row in rows})
        last = rows[-1].id


def _choose(images: Sequence[Any]) -> sa.Update:
    """Flag the newest screening that has an outcome, else the newest that waits, else the newest."""
    one = _screenings
    rank = sa.case((one.c.state.in_(["DONE", "REJECTED"]), 2), (one.c.state.in_(["QUEUED", "RUNNING"]), 1), else_=0)
    order = [rank.desc(), one.c.id.desc()]
    place = sa.func.row_number().over(partition_by=[one.c.image_id, _jobs.c.model_name], order_by=order).label("place")
    ranked = (
        sa.select(one.c.id, one.c.is_latest, place)
        .join(_jobs, _jobs.c.id == one.c.job_id)
        .where(one.c.image_id.in_(images))
        .subquery()
    )
    is_wrong = sa.or_(
        sa.and_(ranked.c.is_latest, ranked.c.place > 1), sa.and_(sa.not_(ranked.c.is_latest), ranked.c.place == 1)
    )
    wrong = sa.select(ranked.c.id).where(is_wrong)
    return sa.update(one).where(one.c.id.in_(wrong)).values(is_latest=sa.not_(one.c.is_latest))
