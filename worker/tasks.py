"""The two Celery tasks. Both are thin: the work is in `worker.screening` and `shared.leases`."""

import logging

from shared import leases
from shared.db import Database
from shared.errors import BrokerAway
from shared.queue import SCREEN_BATCH, SWEEP, CeleryDoorbell
from worker import process
from worker.app import app, settings

log = logging.getLogger(__name__)

TICKET_WORK_SECONDS = 5.0
"""How long one ticket works before it makes room for others: short, so that a stop does not wait long."""

_doorbell = CeleryDoorbell(app, settings.batch_size)


@app.task(name=SCREEN_BATCH)
def screen_batch() -> None:
    """Screen what waits; ring again where the time ran out before the films did."""
    if process.current().screener.drain(TICKET_WORK_SECONDS):
        _doorbell.ring(1)


@app.task(name=SWEEP)
def sweep() -> None:
    """Free leases that ran out, and ring for films that wait without a ticket."""
    database: Database = process.current().database
    with database.write() as session:
        swept = leases.sweep(session, settings.max_attempts)
    if swept.requeued or swept.failed:
        log.warning("The sweep freed %d films; %d of them failed for good.", swept.requeued, swept.failed)
    if not swept.waiting:
        return
    try:
        if _doorbell.tickets() == 0:
            _doorbell.ring(swept.waiting)
    except BrokerAway as error:
        log.warning("%s", error)
