"""Call films images: columns, error codes, and the action of the audit trail, whose chain is made anew from there on.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

Revision: 0010, after 0009.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PART = 1000

COLUMNS = {("jobs", "expected_films"): "expected_images", ("uploads", "films"): "images"}
CODES = {
    "film_missing": "image_missing",
    "film_damaged": "image_damaged",
    "film_unreadable": "image_unreadable",
}
ACTIONS = {"film_viewed": "image_viewed"}

_screenings = sa.table("screenings", sa.column("id", sa.Uuid()), sa.column("state"), sa.column("error_code"))
_events = sa.table(
    "audit_events",
    sa.column("sequence", sa.BigInteger()),
    sa.column("id", sa.Uuid()),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("user_id", sa.Uuid()),
    sa.column("actor", sa.String()),
    sa.column("action", sa.String()),
    sa.column("subject", sa.String()),
    sa.column("address", sa.String()),
    sa.column("detail", sa.JSON(none_as_null=True)),
    sa.column("previous_hash", sa.String()),
    sa.column("hash", sa.String()),
)
_heads = sa.table("audit_heads", sa.column("sequence"), sa.column("hash"))


def upgrade() -> None:
    """Apply the change."""
    # No batch in either direction: see 0002.
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rename_codes(CODES)
    _rename_actions(ACTIONS)


def downgrade() -> None:
    """Take the change back."""
    _rename_actions({new: old for old, new in ACTIONS.items()})
    _rename_codes({new: old for old, new in CODES.items()})
    for (table, old), new in COLUMNS.items():
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")


def _rename_codes(names: Mapping[str, str]) -> None:
    """Change the codes of refusals in parts, along the index of screenings without a prediction."""
    for state in ("REJECTED", "FAILED"):
        for part in _parts(sa.select(_screenings.c.id).where(_screenings.c.state == state), _screenings.c.id):
            ids = [row["id"] for row in part]
            for old, new in names.items():
                which = sa.and_(_screenings.c.id.in_(ids), _screenings.c.error_code == old)
                op.get_bind().execute(sa.update(_screenings).where(which).values(error_code=new))


def _rename_actions(names: Mapping[str, str]) -> None:
    """Change actions, and the hashes of all rows from the first of them on."""
    first = op.get_bind().scalar(sa.select(sa.func.min(_events.c.sequence)).where(_events.c.action.in_(names)))
    if first is None:
        return
    _allow_changes()
    sequence, last = first - 1, _hash_before(first)
    query = sa.select(*_events.c).where(_events.c.sequence >= first)
    for part in _parts(query, _events.c.sequence):
        for row in part:
            row |= {"action": names.get(row["action"], row["action"]), "previous_hash": last}
            sequence, last = row["sequence"], _digest(row)
            changed = {"action": row["action"], "previous_hash": row["previous_hash"], "hash": last}
            op.get_bind().execute(sa.update(_events).where(_events.c.sequence == sequence).values(**changed))
    op.get_bind().execute(sa.update(_heads).where(_heads.c.sequence == sequence).values(hash=last))
    _refuse_changes()


def _hash_before(sequence: int) -> str:
    query = sa.select(_events.c.hash).where(_events.c.sequence == sequence - 1)
    return op.get_bind().scalar(query) or "0" * 64


def _parts(query: Any, key: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield rows by a key, one part in memory at a time."""
    query = query.order_by(key).limit(PART)
    part: list[dict[str, Any]] = [dict(row) for row in op.get_bind().execute(query).mappings()]
    while part:
        last = part[-1][key.name]
        yield part
        part = [dict(row) for row in op.get_bind().execute(query.where(key > last)).mappings()]


def _digest(row: Mapping[str, Any]) -> str:
    plain = {name: _plain(value) for name, value in row.items() if value is not None and name != "hash"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value.isoformat(timespec="microseconds")
    return value if isinstance(value, int | dict) else str(value)


_MESSAGE = "The audit trail takes new rows only."

# The triggers that refuse these changes, as 0003 made them.
_SQLITE = {
    "audit_events_update": "BEFORE UPDATE ON audit_events",
    "audit_heads_update": "BEFORE UPDATE ON audit_heads WHEN NEW.id <> OLD.id OR NEW.sequence <= OLD.sequence",
}
_POSTGRESQL = {
    "audit_events_change": "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events FOR EACH STATEMENT",
    "audit_heads_update": (
        "BEFORE UPDATE ON audit_heads FOR EACH ROW WHEN (NEW.id <> OLD.id OR NEW.sequence <= OLD.sequence)"
    ),
}


def _allow_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in _SQLITE:
            op.execute(f"DROP TRIGGER {name}")
        return
    for name, when in _POSTGRESQL.items():
        op.execute(f"DROP TRIGGER {name} ON {'audit_heads' if 'audit_heads' in when else 'audit_events'}")


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name, when in _SQLITE.items():
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END")
        return
    for name, when in _POSTGRESQL.items():
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION refuse_audit_change()")
