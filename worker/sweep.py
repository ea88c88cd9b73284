"""The sweep: frees leases that ran out, and rings for films that wait without a ticket (`python -m worker.sweep`).

A process of its own, not a Celery task: it watches over the workers, so it must not need one.
"""

import logging
import signal
import threading
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import OperationalError

from shared import jobs, leases
from shared.db import Database, now
from shared.errors import BrokerAway
from shared.logs import configure_logging
from shared.queue import CeleryDoorbell, make_doorbell
from shared.settings import Settings, load_settings
from shared.storage import FolderStore

log = logging.getLogger(__name__)

UNFINISHED_AFTER: Final = timedelta(days=1)
"""No upload takes a day; what is older was left by a process that was killed."""


def sweep(database: Database, doorbell: CeleryDoorbell, settings: Settings) -> leases.Swept:
    """Sweep once; raise BrokerAway where films wait and Redis does not answer."""
    with database.write() as session:
        swept = leases.sweep(session, settings.max_attempts, settings.model)
        forsaken = jobs.close_forsaken(session)
    if swept.requeued or swept.failed:
        log.warning("%d films had lost their worker; %d of them FAILED.", swept.requeued + swept.failed, swept.failed)
    if forsaken:
        log.warning("%d uploads had been forsaken by their senders and are closed.", forsaken)
    if swept.waiting and doorbell.tickets() == 0:
        doorbell.ring(swept.waiting)
    return swept


def run(settings: Settings, stopped: threading.Event) -> None:
    """Sweep every few seconds until told to stop; what is away now is tried again."""
    database = Database(settings.database)
    doorbell = make_doorbell(settings)
    removed = FolderStore(settings.store).remove_unfinished(now() - UNFINISHED_AFTER)
    if removed:
        log.warning("%d half received files of an earlier run were removed.", removed)
    while not stopped.wait(settings.sweep_seconds):
        try:
            sweep(database, doorbell, settings)
        except BrokerAway as error:
            log.warning("%s", error)
        except OperationalError:
            log.warning("The database did not answer; the next sweep tries again.", exc_info=True)
    database.close()


def main() -> None:
    """Sweep until SIGTERM."""
    configure_logging()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    run(load_settings(), stopped)


if __name__ == "__main__":
    main()
