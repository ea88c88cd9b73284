"""The Celery task, a thin wrapper of `worker.screening.screen`."""

import logging
from typing import Final

from shared.errors import StoreAway
from shared.queue.tickets import SCREEN_BATCH, CeleryTicketSender, try_send_tickets
from worker import process
from worker.app import app

log = logging.getLogger(__name__)

TICKET_WORK_SECONDS: Final = 5.0
"""How long one ticket's task works before it makes room for others: short, so that a stop does not wait long."""

_ticket_sender = CeleryTicketSender(lambda: app)


@app.task(name=SCREEN_BATCH)
def screen_batch() -> None:
    """Screen waiting images; send another ticket if the time ran out before the images did.

    Where the image store or Redis is unavailable the task ends, and the sweep sends another ticket in a few seconds.
    """
    held = process.current()
    try:
        images_wait = held.screener.drain(TICKET_WORK_SECONDS)
    except StoreAway as error:
        log.error("%s The images wait.", error)  # noqa: TRY400  # the message says it all
        return
    try_send_tickets(_ticket_sender, held.screener.model, int(images_wait))
