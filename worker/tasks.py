"""The Celery task. It is thin: the work is in `worker.screening`."""

from typing import Final

from shared.queue import SCREEN_BATCH, CeleryDoorbell
from worker import process
from worker.app import app, settings

TICKET_WORK_SECONDS: Final = 5.0
"""How long one ticket works before it makes room for others: short, so that a stop does not wait long."""

_doorbell = CeleryDoorbell(app, settings.batch_size)


@app.task(name=SCREEN_BATCH)
def screen_batch() -> None:
    """Screen what waits; ring again where the time ran out before the films did."""
    if process.current().screener.drain(TICKET_WORK_SECONDS):
        _doorbell.ring(1)
