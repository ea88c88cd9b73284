"""Chain the audit trail.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0003, after 0002.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PART = 1000
START = "0" * 64


def _table(name: str, *, is_chained: bool) -> sa.TableClause:
    columns: list[sa.ColumnClause[Any]] = [
        sa.column("id", sa.Uuid()),
        sa.column("user_id", sa.Uuid()),
        sa.column("action", sa.String()),
        sa.column("subject", sa.String()),
        sa.column("address", sa.String()),
        sa.column("created_at", sa.DateTime(timezone=True)),
    ]
    if is_chained:
        columns += [
            sa.column("sequence", sa.BigInteger()),
            sa.column("actor", sa.String()),
            sa.column("detail", sa.JSON(none_as_null=True)),
            sa.column("previous_hash", sa.String()),
            sa.column("hash", sa.String()),
        ]
    return sa.table(name, *columns)


_users = sa.table("users", sa.column("id", sa.Uuid()), sa.column("name", sa.String()))


def upgrade() -> None:
    """Apply the change."""
    _set_aside("audit_events_before")
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_events_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("sequence", name=op.f("uq_audit_events_sequence")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_heads_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_heads")),
    )
    _chain()
    op.drop_table("audit_events_before")
    for columns in (["actor", "sequence"], ["action", "sequence"], ["subject", "sequence"], ["created_at"]):
        op.create_index(op.f(f"ix_audit_events_{'_'.join(columns)}"), "audit_events", columns)
    _refuse_changes()


def downgrade() -> None:
    """Take the change back."""
    _allow_changes()
    _set_aside("audit_events_chained")
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_events_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    target = _table("audit_events", is_chained=False)
    for part in _parts(_table("audit_events_chained", is_chained=False)):
        op.get_bind().execute(sa.insert(target), part)
    op.drop_table("audit_events_chained")
    op.drop_table("audit_heads")


def _set_aside(name: str) -> None:
    """Rename the table, because SQLite cannot fill a new NOT NULL column; its rows are copied in parts."""
    if op.get_bind().dialect.name == "postgresql":
        # PostgreSQL's keys are indexes, whose names are shared by all tables.
        op.execute("ALTER TABLE audit_events RENAME CONSTRAINT pk_audit_events TO pk_audit_events_aside")
    op.rename_table("audit_events", name)


def _parts(source: Any, *more: Any, join: Callable[[Any], Any] = lambda query: query) -> Iterator[list[dict[str, Any]]]:
    """Yield rows by id, the order in which they were written, one part in memory at a time."""
    query = join(sa.select(*source.c, *more).order_by(source.c.id).limit(PART))
    part: list[dict[str, Any]] = [dict(row) for row in op.get_bind().execute(query).mappings()]
    while part:
        yield part
        after = query.where(source.c.id > part[-1]["id"])
        part = [dict(row) for row in op.get_bind().execute(after).mappings()]


def _chain() -> None:
    before = _table("audit_events_before", is_chained=False)
    after = _table("audit_events", is_chained=True)
    head = sa.table("audit_heads", sa.column("id"), sa.column("sequence"), sa.column("hash"))
    sequence, last = 0, START
    for part in _parts(
        before, _users.c.name.label("actor"), join=lambda query: query.outerjoin(_users, _users.c.id == before.c.user_id)
    ):
        for row in part:
            sequence += 1
            row |= {"sequence": sequence, "detail": None, "previous_hash": last}
            last = row["hash"] = _digest(row)
        op.get_bind().execute(sa.insert(after), part)
    if sequence:
        op.get_bind().execute(sa.insert(head), [{"id": 1, "sequence": sequence, "hash": last}])


def _digest(row: dict[str, Any]) -> str:
    plain = {name: _plain(value) for name, value in row.items() if value is not None}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.isoformat(timespec="microseconds")
    return value if isinstance(value, int) else str(value)


_MESSAGE = "The audit trail takes new rows only."

_SQLITE = {
    "audit_events_update": "BEFORE UPDATE ON audit_events",
    "audit_events_delete": "BEFORE DELETE ON audit_events",
    # REPLACE deletes without firing the trigger above (sqlite.org/lang_conflict.html).
    "audit_events_replace": (
        "BEFORE INSERT ON audit_events "
        "WHEN EXISTS (SELECT 1 FROM audit_events WHERE sequence = NEW.sequence OR id = NEW.id)"
    ),
    "audit_heads_update": "BEFORE UPDATE ON audit_heads WHEN NEW.id <> OLD.id OR NEW.sequence <= OLD.sequence",
    "audit_heads_delete": "BEFORE DELETE ON audit_heads",
    "audit_heads_replace": "BEFORE INSERT ON audit_heads WHEN EXISTS (SELECT 1 FROM audit_heads)",
}
_POSTGRESQL = {
    "audit_events_change": "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events FOR EACH STATEMENT",
    "audit_heads_remove": "BEFORE DELETE OR TRUNCATE ON audit_heads FOR EACH STATEMENT",
    "audit_heads_update": (
        "BEFORE UPDATE ON audit_heads FOR EACH ROW WHEN (NEW.id <> OLD.id OR NEW.sequence <= OLD.sequence)"
    ),
}


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name, when in _SQLITE.items():
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END")
        return
    op.execute(
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_MESSAGE}'; END $$"
    )
    for name, when in _POSTGRESQL.items():
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION refuse_audit_change()")


def _allow_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in _SQLITE:
            op.execute(f"DROP TRIGGER {name}")
        return
    for name, when in _POSTGRESQL.items():
        op.execute(f"DROP TRIGGER {name} ON {'audit_heads' if 'audit_heads' in when else 'audit_events'}")
    op.execute("DROP FUNCTION refuse_audit_change()")
