"""The database: engine, transactions, and the column types that SQLite and PostgreSQL share."""

import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import DateTime, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.types import TypeDecorator

from shared.batches import batched
from shared.database_limits import DatabaseLimits
from shared.errors import DatabaseBusy

T = TypeVar("T")

# Names for constraints, so that Alembic can drop them on both databases.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# How long writers wait for SQLite's one write lock before they give up.
SQLITE_BUSY_SECONDS = 30

ROWS_A_STATEMENT: Final = 1000
"""SQLite takes 32,766 bound values a statement and PostgreSQL 65,535; a message has 14."""

ATTEMPTS: Final = 6
"""How often a transaction is tried in spite of conflicts before DatabaseBusy is raised."""
_PAUSE_SECONDS: Final = 0.02

# serialization_failure and deadlock_detected (postgresql.org/docs/current/errcodes-appendix.html).
_COLLISIONS: Final = {"40001", "40P01"}
_NOT_UNIQUE: Final = {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


READ_ONLY = "read_only"
"""Key in `Session.info` of a read-only transaction."""


class WriteInRead(RuntimeError):
    """Report a write in a read-only transaction: a bug, never caused by input."""


class Base(DeclarativeBase):
    """Carry the metadata of every table."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """Store an aware time; SQLite stores no time zone, so it is given UTC and read as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Refuse a naive time and convert any other to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Times carry a time zone. Received: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Mark times from SQLite as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


_last_id = 0
_id_lock = threading.Lock()


def new_id() -> uuid.UUID:
    """Make a time-ordered UUID, version 7 (RFC 9562, section 5.7, method 1: a counter within the millisecond).

    Ids made by one process sort in the order of their creation.
    """
    global _last_id  # noqa: PLW0603  # one counter a process is what method 1 asks for
    with _id_lock:
        _last_id = max(time.time_ns() // 1_000_000 << 12, _last_id + 1)
        milliseconds, counter = _last_id >> 12, _last_id & 0xFFF
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62))


def first_id(moment: datetime) -> uuid.UUID:
    """Return the smallest id of a time: ids begin with their milliseconds."""
    return uuid.UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def time_of(key: uuid.UUID) -> datetime:
    """Return when an id was made, to the millisecond."""
    return datetime.fromtimestamp((key.int >> 80) / 1000, UTC)


class Database:
    """Open transactions on one database.

    Without `is_forced` SQLite does not wait for the disk at a commit: for data that can be made again. A power loss may
    then undo the last commits, all after some point in time, but none before a forced one of any process
    (sqlite.org/pragma.html#pragma_synchronous, NORMAL with a write-ahead log). `limits` apply to PostgreSQL.
    """

    def __init__(self, url: str, *, is_forced: bool = True, limits: DatabaseLimits | None = None) -> None:
        self.engine = _make_engine(url, is_forced, limits or DatabaseLimits())

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a read-only transaction, in which the database refuses every write.

        Raises WriteInRead where a change is pending at the end: it would be lost.
        """
        engine = self.engine.execution_options(read_only=True, postgresql_readonly=True)
        with Session(engine, expire_on_commit=False, info={READ_ONLY: True}) as session:
            yield session
            _refuse_unwritten(session)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that writes; commit it at the end, roll it back on an error."""
        # On SQLite a reader that starts to write fails at once if another wrote in between; taking the write lock first
        # waits instead (sqlite.org/lang_transaction.html).
        with Session(self.engine.execution_options(write=True), expire_on_commit=False) as session, session.begin():
            yield session

    def transact(self, work: Callable[[Session], T]) -> T:
        """Run work in a writing transaction and repeat it after conflicts; see `repeat_conflicts`."""

        def attempt() -> T:
            with self.write() as session:
                return work(session)

        return repeat_conflicts(attempt)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def repeat_conflicts(work: Callable[[], T]) -> T:
    """Run work whose transactions may conflict with others, and repeat it where they do.

    Conflicts are deadlocks, serialization failures, rows that another removed and unique keys that another inserted
    first; after each of them nothing is written. Raises DatabaseBusy where they go on.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except StaleDataError:  # a row was removed between reading it and changing it
            pass
        except DBAPIError as error:
            if _codes(error).isdisjoint(_COLLISIONS | _NOT_UNIQUE):
                raise
        time.sleep(_PAUSE_SECONDS * attempt * (0.5 + random.random()))  # noqa: S311  # apart from each other, no secret
    try:
        return work()
    except (DBAPIError, StaleDataError) as error:
        if isinstance(error, DBAPIError) and _codes(error).isdisjoint(_COLLISIONS):
            raise
        raise DatabaseBusy("Someone else is changing the same data. Try again in a moment.") from error


def _codes(error: DBAPIError) -> set[str | None]:
    """Return the error's codes in PostgreSQL and in SQLite."""
    return {getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorname", None)}


def _make_engine(url: str, is_forced: bool, limits: DatabaseLimits) -> Engine:
    # Values are kept out of error messages and so out of logs: file names may name patients.
    if not url.startswith("sqlite"):
        from shared import postgres  # noqa: PLC0415  # its driver takes time to load, which SQLite need not wait for

        return postgres.make_engine(make_url(url), limits)
    engine = create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.pool,
        hide_parameters=True,
    )
    event.listen(engine, "connect", partial(_configure_sqlite, synchronous="FULL" if is_forced else "NORMAL"))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object, synchronous: str) -> None:
    # The driver's own transaction handling is switched off; _begin_sqlite begins transactions.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    options = connection.get_execution_options()
    is_read_only = options.get("read_only", False)
    # The pragma stays with the pooled connection, so it is only sent where it changes.
    if connection.info.get(READ_ONLY, False) is not is_read_only:
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if is_read_only else 'OFF'}")
        connection.info[READ_ONLY] = is_read_only
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write", False) else "BEGIN")


def _refuse_unwritten(session: Session) -> None:
    changed = [item for item in session.dirty if session.is_modified(item)]
    waiting = [*session.new, *changed, *session.deleted]
    if waiting:
        names = ", ".join(sorted({type(item).__name__ for item in waiting}))
        raise WriteInRead(f"Use Database.write(): these rows wait to be written and would be lost: {names}.")


def insert_new(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """Insert rows, skip those whose unique key exists, and return how many were new."""
    if not rows:
        return 0
    dialect = session.get_bind().dialect.name
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # Rows are passed apart from the statement, which would otherwise be recompiled each time: 0.9 ms a row.
    statement = make(table).on_conflict_do_nothing().returning(*table.__table__.primary_key)
    return len(session.connection().execute(statement, rows).all())


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield values in parts of up to ROWS_A_STATEMENT, so that each fits into one statement."""
    return batched(values, ROWS_A_STATEMENT)


def row_count(result: Any) -> int:
    """Return how many rows a statement changed."""
    return int(result.rowcount)
