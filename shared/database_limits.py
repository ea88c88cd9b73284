"""How long one process waits for its database, and over how many connections."""

from dataclasses import dataclass
from typing import Final

from shared.settings import Settings

CONNECTIONS: Final = 15
"""Of a process whose threads nobody counted."""


@dataclass(frozen=True)
class DatabaseLimits:
    """Hold the time limits of a process's database, in seconds, and its connections; None waits for ever.

    The defaults are those of commands, whose statements may take hours.
    """

    connections: int = CONNECTIONS
    connect: float = 5.0
    """To connect, and to show that a connection lives."""
    pool: float = 30.0
    """For a connection while all are in use."""
    statement: float | None = None
    lock: float | None = None
    idle_in_transaction: float | None = None
    prepares: bool = True
    """Whether statements that come again are prepared."""

    @property
    def answer(self) -> float | None:
        """Return how long to wait for what a statement gives: longer than the server itself may take."""
        return None if self.statement is None else self.statement + self.connect


def limits_of(settings: Settings, threads: int | None = None) -> DatabaseLimits:
    """Return the limits of a process that serves: the settings', with a connection for each of its threads."""
    return DatabaseLimits(
        connections=settings.database_connections or threads or CONNECTIONS,
        connect=settings.database_connect_seconds,
        pool=settings.database_pool_seconds,
        statement=settings.database_statement_seconds,
        lock=settings.database_lock_seconds,
        idle_in_transaction=settings.database_idle_seconds,
        prepares=settings.database_prepares,
    )
