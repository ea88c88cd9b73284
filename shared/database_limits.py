"""Timeouts and connection limit of one process's database."""

from dataclasses import dataclass
from typing import Final

from shared.settings import Settings

CONNECTIONS: Final = 15
"""For a process that does not state its number of threads."""


@dataclass(frozen=True)
class DatabaseLimits:
    """Hold the timeouts of a process's database, in seconds, and its most connections; None means no timeout.

    The defaults are for commands, whose statements may take hours.
    """

    connections: int = CONNECTIONS
    connect: float = 5.0
    """To connect, and to check that a connection is alive."""
    pool: float = 30.0
    """For a free connection while all are in use."""
    statement: float | None = None
    lock: float | None = None
    idle_in_transaction: float | None = None
    prepares: bool = True
    """Whether repeated statements are prepared."""

    @property
    def answer(self) -> float | None:
        """Return the timeout for the answer to a statement: longer than the server's own limit."""
        return None if self.statement is None else self.statement + self.connect


def limits_of(settings: Settings, threads: int | None = None) -> DatabaseLimits:
    """Return the limits of a serving process: those of the settings, with a connection for each of its threads."""
    return DatabaseLimits(
        connections=settings.database_connections or threads or CONNECTIONS,
        connect=settings.database_connect_seconds,
        pool=settings.database_pool_seconds,
        statement=settings.database_statement_seconds,
        lock=settings.database_lock_seconds,
        idle_in_transaction=settings.database_idle_seconds,
        prepares=settings.database_prepares,
    )
