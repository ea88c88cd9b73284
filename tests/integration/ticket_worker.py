"""A Celery worker configured as ours, without a network: a ticket takes a while, counts itself and does nothing."""

import os
import time
from pathlib import Path

from shared.queue.broker import Broker
from shared.queue.tickets import SCREEN_BATCH, make_celery, serve_model
from shared.settings import load_settings

DONE_KEY = "tickets done"
SECONDS_VARIABLE = "TICKET_SECONDS"

settings = load_settings()
app = make_celery(settings)
serve_model(app, settings.model)


@app.task(name=SCREEN_BATCH)
def screen_batch() -> None:
    time.sleep(float(os.environ.get(SECONDS_VARIABLE, "1")))
    with Broker.of(settings).connect() as redis:
        redis.incr(DONE_KEY)


@app.task(name="somebody.elses")
def other(path: str) -> None:
    """What a chain, a callback or a message could name."""
    with Path(path).open("w") as file:
        file.write("called")
