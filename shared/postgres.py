"""PostgreSQL: connections that detect an unresponsive server, and limits that end with each transaction.

Imported only where the database is PostgreSQL.
"""

import time
from collections.abc import Generator
from math import ceil
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event

from shared.database_limits import DatabaseLimits

T = TypeVar("T")

# A peer that vanished is detected after idle + interval * count seconds (tcp(7)); the kernel's defaults take two hours.
_KEEPALIVES: Final[dict[str, int]] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class WatchedConnection(psycopg.Connection[Any]):
    """Close the connection where the server does not answer in time.

    Keepalives do not detect a server whose kernel still acknowledges, such as a stopped one, or a proxy whose server is
    gone.
    """

    answer_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """Wait for an answer; raise OperationalError, and close the connection, where none comes in time."""
        if self.answer_seconds is None:
            return super().wait(gen, *args, **options)
        return super().wait(self._within(gen, time.monotonic() + self.answer_seconds), *args, **options)

    def _within(self, gen: Generator[Any, Any, T], until: float) -> Generator[Any, Any, T]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted  # yields nothing several times a second while no data arrives
                if not ready and time.monotonic() >= until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"PostgreSQL did not answer within {self.answer_seconds:g} s.")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: T = end.value
            return answer


def make_engine(url: URL, limits: DatabaseLimits) -> Engine:
    """Create a PostgreSQL engine with these limits; options in the URL take precedence."""
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.pool,
        hide_parameters=True,
    )
    options = {"connect_timeout": ceil(limits.connect), **_KEEPALIVES}
    options = {name: value for name, value in options.items() if name not in url.query}

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, cargs: Any, cparams: Any) -> WatchedConnection:
        connection = WatchedConnection.connect(*cargs, **(cparams | options))
        connection.answer_seconds = limits.connect
        if not limits.prepares or _is_pooled(connection):
            connection.prepare_threshold = None
        return connection

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        _keep_default_mode(connection)
        _limit_transaction(connection, limits)

    @event.listens_for(engine, "checkin")
    def check_in(connection: WatchedConnection | None, _record: object) -> None:
        # The next user first checks that the connection is alive, and that answer must come soon.
        if connection is not None:
            connection.answer_seconds = limits.connect

    return engine


def _is_pooled(connection: WatchedConnection) -> bool:
    """Tell whether a pooler such as PgBouncer is in between: then another process answers than the one that connected.

    A statement that one server process prepared is unknown to the next one that a pooler assigns.
    """
    answering = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    return answering is None or answering[0] != connection.info.backend_pid


def _keep_default_mode(connection: Connection) -> None:
    """Write only where the server's default permits it.

    After a read-only transaction, SQLAlchemy explicitly requests READ WRITE, which overrides the server's setting.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, WatchedConnection)  # noqa: S101  # made by `make_engine`
    if driver.read_only is False:
        driver.read_only = None


def _limit_transaction(connection: Connection, limits: DatabaseLimits) -> None:
    """Set the limits for this transaction only: on a pooler's connection they would outlast it for other clients."""
    wanted = {
        "statement_timeout": limits.statement,
        "lock_timeout": limits.lock,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction,
    }
    given = {name: seconds for name, seconds in wanted.items() if seconds is not None}
    if given:
        calls = ", ".join(f"set_config('{name}', '{ceil(seconds * 1000)}', true)" for name, seconds in given.items())
        connection.exec_driver_sql(f"SELECT {calls}")
    driver = connection.connection.driver_connection
    assert isinstance(driver, WatchedConnection)  # noqa: S101  # made by `make_engine`
    driver.answer_seconds = limits.answer
