"""Start and stop worker pools for further models, as administrators put models in force."""

import logging
import time
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cli.serving.processes import Program, Supervisor, worker_command
from shared.activations.in_force import default_model, ever_activated, shadow_model
from shared.database_limits import limits_of
from shared.db import Database
from shared.queue.leases import count_waiting
from shared.settings import PREFIX, Settings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 3.0
SHADOW_PROCESSES: Final = 1
"""A shadow model answers when nothing else waits, so nobody waits for it."""


class Pools:
    """The worker pools besides that of the model in the settings, which always runs."""

    def __init__(self, supervisor: Supervisor, settings: Settings, workers: int) -> None:
        """Take the number of processes for a model whose jobs people wait for."""
        self._supervisor, self._settings, self._workers = supervisor, settings, workers
        self._database = Database(settings.database, limits=limits_of(settings))
        self._running: dict[tuple[str, int], Program] = {}
        """By model and number of processes."""
        self._next_look = 0.0

    def look(self) -> None:
        """Start and stop pools as the rows require, every LOOK_SECONDS; while the database is down nothing changes."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            with self._database.read() as session:
                wanted = set(self._wanted(session).items())
        except SQLAlchemyError as error:
            log.warning("Which models are in force is not known: %s", str(error).splitlines()[0])
            return
        for pool in self._running.keys() - wanted:
            self._supervisor.end(self._running.pop(pool))
        for pool in wanted - self._running.keys():
            self._running[pool] = self._start(*pool)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _wanted(self, session: Session) -> dict[str, int]:
        """Return how many processes each further model needs."""
        shadow = shadow_model(session)
        wanted = {shadow.model_name: SHADOW_PROCESSES} if shadow is not None else {}
        # Jobs sent while another model was the default keep it, and have to finish.
        awaited = ever_activated(session) & set(count_waiting(session))
        for name in {default_model(session, self._settings.model), *awaited}:
            wanted[name] = self._workers
        wanted.pop(self._settings.model, None)
        return wanted

    def _start(self, model: str, processes: int) -> Program:
        name = f"worker-{model}"
        return self._supervisor.start(name, worker_command(processes, name), environment={f"{PREFIX}MODEL": model})
