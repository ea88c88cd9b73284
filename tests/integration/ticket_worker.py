"""A Celery worker configured as ours, without a network: a ticket takes a second and does nothing."""

import time

from shared.queue import SCREEN_BATCH, make_celery
from shared.settings import load_settings

app = make_celery(load_settings())


@app.task(name=SCREEN_BATCH)
def screen_batch() -> None:
    time.sleep(1.0)
