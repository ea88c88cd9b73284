"""The sweep: frees leases that ran out, and rings for films that wait without a ticket (`python -m worker.sweep`).

A process of its own, not a Celery task: it watches over the workers, so it must not need one.
"""

import logging
import signal
import threading
import time
import uuid
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import OperationalError

from shared import jobs, leases, retention
from shared.databaselimits import limits_of
from shared.db import Database, now
from shared.errors import BrokerAway, StoreAway, StoreFull, StoreMisconfigured
from shared.logs import configure_logging
from shared.queue import CeleryDoorbell, make_doorbell
from shared.settings import Settings, load_settings
from shared.storage import Store, open_store
from worker.stillness import Stillness

log = logging.getLogger(__name__)

UNFINISHED_AFTER: Final = timedelta(days=1)
"""No upload takes a day; what is older was left by a process that was killed."""

FORSAKEN_SECONDS: Final = 24 * 3600.0
"""A sender that lives sends its next films within seconds; one that waits for room in a full queue, within a night."""

LOOKS_AT_A_TIME: Final = 2
"""A look that comes late by more than one interval could not be taken; see `Stillness`."""


class Sweep:
    """Watch over leases and uploads: whose holder no longer moves has lost them."""

    def __init__(self, database: Database, doorbell: CeleryDoorbell, settings: Settings) -> None:
        longest = LOOKS_AT_A_TIME * settings.sweep_seconds
        self._database, self._doorbell, self._settings = database, doorbell, settings
        self._leases: Stillness[uuid.UUID, datetime] = Stillness(settings.lease_seconds, longest)
        self._uploads: Stillness[uuid.UUID, int] = Stillness(FORSAKEN_SECONDS, longest)

    def once(self) -> leases.Swept:
        """Free what is lost and ring for what waits; raise BrokerAway where films wait and Redis does not answer."""
        swept = self.free_leases(at=time.monotonic())
        self.close_uploads(at=time.monotonic())
        if swept.waiting and self._doorbell.tickets() == 0:
            self._doorbell.ring(swept.waiting)
        return swept

    def free_leases(self, at: float) -> leases.Swept:
        """Free the films whose holder is silent, `at` seconds of a monotonic clock, and count what waits."""
        with self._database.write() as session:
            held = leases.held(session)
            run_out = {token: held[token] for token in self._leases.look(held, at)}
            swept = leases.sweep(session, run_out, self._settings.max_attempts, self._settings.model)
        lost = swept.requeued + swept.failed
        if lost:
            log.warning("%d films had lost their worker; %d of them FAILED.", lost, swept.failed)
        return swept

    def close_uploads(self, at: float) -> None:
        """End the uploads that have taken no film for FORSAKEN_SECONDS, `at` seconds of a monotonic clock."""
        with self._database.read() as session:
            forsaken = self._uploads.look(jobs.open_uploads(session), at)
        for job_id in forsaken:
            with self._database.write() as session:
                jobs.close_job(session, job_id)
        if forsaken:
            log.warning("%d uploads had been forsaken by their senders and are closed.", len(forsaken))


def run(settings: Settings, stopped: threading.Event) -> None:
    """Sweep every few seconds until told to stop; what is away now is tried again."""
    database = Database(settings.database, limits=limits_of(settings))
    sweep = Sweep(database, make_doorbell(settings), settings)
    store = _open_store(settings)
    _clear(store)
    while not stopped.wait(settings.sweep_seconds):
        try:
            sweep.once()
            _remove_files(database, store)
        except BrokerAway as error:
            log.warning("%s", error)
        except OperationalError:
            log.warning("The database did not answer; the next sweep tries again.", exc_info=True)
    database.close()


def _open_store(settings: Settings) -> Store | None:
    """Open the image store; leases are swept without one, too."""
    try:
        return open_store(settings)
    except StoreMisconfigured as error:
        log.warning("%s Nothing is removed from it until the sweep starts again.", error)
        return None


def _clear(store: Store | None) -> None:
    """Remove what earlier runs left half received; a store that is away can wait for the next start."""
    if store is None:
        return
    try:
        removed = store.remove_unfinished(now() - UNFINISHED_AFTER)
    except (StoreAway, StoreFull) as error:
        log.warning("%s What was left half received there stays until the sweep starts again.", error)
        return
    if removed:
        log.warning("%d half received files of an earlier run were removed.", removed)


def _remove_files(database: Database, store: Store | None) -> None:
    """Remove the files of deleted films; a store that is away can wait for the next look."""
    if store is None:
        return
    try:
        retention.remove_buried(database, store)
    except StoreAway as error:
        log.warning("%s The files of deleted films stay until it is back.", error)


def main() -> None:
    """Sweep until SIGTERM."""
    configure_logging()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    run(load_settings(), stopped)


if __name__ == "__main__":
    main()
