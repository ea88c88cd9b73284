"""Copy the database to one SQLite file and back: a consistent snapshot, made while the system writes."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from alembic import command
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, delete, insert, select, true

from cli.errors import CommandFailed
from migrations import schema
from shared.db import SQLITE_BUSY_SECONDS, Base, Database
from shared.tables import Image, Job, User

_ROWS: Final = 1000


def copy_out(database: Database, file: Path) -> None:
    """Copy a consistent snapshot of a database to a new SQLite file; writers are not blocked."""
    file.touch(mode=0o600)
    if database.engine.dialect.name == "sqlite":
        _copy_sqlite(database.engine, file)
        return
    copy = Database(f"sqlite:///{file}")
    try:
        schema.upgrade(copy)
        _copy_rows(database.engine, copy.engine)
    finally:
        copy.close()
    make_single(file)


def copy_in(file: Path, database: Database) -> None:
    """Replace a database's rows with those of an SQLite file of the same schema."""
    if schema.current(database) is not None:
        try:
            command.downgrade(schema.configuration(database), "base")
        except CommandError as error:
            raise CommandFailed(
                "The database is at a schema that this version does not know. Name an empty database."
            ) from error
    schema.upgrade(database)
    copy = Database(f"sqlite:///{file}")
    try:
        _copy_rows(copy.engine, database.engine)
    finally:
        copy.close()


def is_empty(database: Database) -> bool:
    """Tell whether a database holds no account, no job and no image."""
    if schema.current(database) is None:
        return True
    with database.read() as session:
        return all(session.scalar(select(true()).select_from(table).limit(1)) is None for table in (User, Job, Image))


def _copy_sqlite(engine: Engine, file: Path) -> None:
    place = engine.url.database
    assert place is not None  # noqa: S101  # a database in memory has no settings that lead to it
    opened = sqlite3.connect(place, timeout=SQLITE_BUSY_SECONDS)
    with closing(opened) as source, closing(sqlite3.connect(file)) as target:
        # All pages in one step: it reads one snapshot of the write-ahead log, which blocks no writer. In several steps
        # it would start over whenever another process writes (sqlite.org/backup.html).
        source.backup(target)
    make_single(file)


def make_single(file: Path) -> None:
    """Turn a copy into one file without a write-ahead log, and check it; raise CommandFailed where it is damaged."""
    with closing(sqlite3.connect(file)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise CommandFailed(f"The database is damaged: {found}. Restore an earlier backup.")


def _copy_rows(source: Engine, target: Engine) -> None:
    """Copy every table in one transaction on each side, parents first."""
    # On PostgreSQL only this level gives a transaction one snapshot; SQLite's always have one.
    level = {} if source.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with (
        source.execution_options(**level).connect() as reading,
        target.execution_options(write=True).begin() as writing,
    ):
        tables = Base.metadata.sorted_tables
        for table in reversed(tables):
            # A migration may have inserted rows. The audit trail refuses deletion, even of no rows.
            if writing.execute(select(true()).select_from(table).limit(1)).first():
                writing.execute(delete(table))
        for table in tables:
            _copy_table(reading, writing, table.name)


def _copy_table(reading: Connection, writing: Connection, name: str) -> None:
    table = Base.metadata.tables[name]
    rows = reading.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
    for some in rows.partitions(_ROWS):
        writing.execute(insert(table), [dict(row) for row in some])
