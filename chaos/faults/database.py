"""Faults of the database, the source of truth."""

import sqlite3
import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from chaos.errors import NotHere
from chaos.postgres import DATABASE
from chaos.scene import Scene

LOCK_SECONDS: Final = 10.0
HANG_SECONDS: Final = 20.0
_TABLES: Final = "users, api_tokens, images, jobs, screenings, predictions, uploads"
_NO_SERVER: Final = "SQLite has no server"


@dataclass(frozen=True)
class DatabaseRestarted:
    """PostgreSQL is stopped as in a crash and started again."""

    name: str = "database restarted (immediate shutdown)"
    family: str = "database"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Restart the server; the fault ends when it answers."""
        if scene.stack.postgres is None:
            raise NotHere(_NO_SERVER)
        scene.stack.postgres.restart()


@dataclass(frozen=True)
class ConnectionsCut:
    """Every connection to PostgreSQL is terminated in mid-statement."""

    name: str = "database connections terminated"
    family: str = "database"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Terminate every backend but our own."""
        if scene.stack.postgres is None:
            raise NotHere(_NO_SERVER)
        cut = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = :name"
        )
        with scene.stack.database.write() as session:
            session.execute(cut, {"name": DATABASE})


@dataclass(frozen=True)
class DatabaseLocked:
    """Another client locks the database: a backup, a careless console."""

    name: str = f"database locked for {LOCK_SECONDS:.0f} s"
    family: str = "database"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Lock every table for a while."""
        if scene.stack.postgres is None:
            _lock_sqlite(scene)
        else:
            _lock_postgres(scene)


def _lock_sqlite(scene: Scene) -> None:
    place = scene.stack.data_dir / "pneumoscreen.db"
    connection = sqlite3.connect(place, timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCK_SECONDS)
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _lock_postgres(scene: Scene) -> None:
    with scene.stack.database.write() as session:
        session.execute(text(f"LOCK TABLE {_TABLES} IN ACCESS EXCLUSIVE MODE"))
        time.sleep(LOCK_SECONDS)


@dataclass(frozen=True)
class DatabaseHangs:
    """PostgreSQL keeps connections open and accepts new ones but does not answer, as in an unfinished failover."""

    name: str = f"database hangs for {HANG_SECONDS:.0f} s"
    family: str = "database"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Stop every process of the server, then continue them."""
        if scene.stack.postgres is None:
            raise NotHere(_NO_SERVER)
        stopped = scene.stack.postgres.processes()
        try:
            for process in stopped:
                process.suspend()
            time.sleep(HANG_SECONDS)
        finally:
            for process in reversed(stopped):
                process.resume()


FAULTS: Final = (DatabaseRestarted(), ConnectionsCut(), DatabaseLocked(), DatabaseHangs())
