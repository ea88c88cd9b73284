"""Alembic's environment: run migrations on the connection that `migrations.schema` provides."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection, text

import shared.tables  # noqa: F401  # fills the metadata
from shared.db import Base, UtcDateTime

# Advisory lock: one migration at a time, even when several machines start at once; any unique number will do.
ADVISORY_LOCK = 7_663_001
LOCK_SECONDS = 10


def _render(kind: str, item: object, _autogen: object) -> str | Literal[False]:
    """Render our own column types as plain database types, so that a migration does not import our code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Exclude the search index of file names and its FTS5 tables: only migrations define them."""
    return kind != "table" or name is None or not name.startswith("screening_names")


def run(connection: Connection) -> None:
    """Migrate in one transaction; a failed migration leaves nothing behind."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=_render,
        include_name=_is_ours,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            # Another machine's migration may take long; waiting so long for tables in use would block people.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        context.run_migrations()


engine = context.config.attributes["engine"]
with engine.execution_options(write=True).connect() as shared_connection:
    run(shared_connection)
    shared_connection.commit()
