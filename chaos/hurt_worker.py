"""The workers, hurt: `celery -A chaos.hurt_worker worker`."""

import os
import time
from typing import Any, Final

from chaos.injector import FILM_SECONDS_VARIABLE, bend_clock, crash_on_poison, dying, slowed

bend_clock()

from worker import screening  # after the clock is bent
from worker.app import app

__all__ = ["app"]

STORE_SECONDS: Final = 0.5
"""What a slow store takes for one film."""

hurt: Any = screening
_film_seconds = float(os.environ[FILM_SECONDS_VARIABLE])
_decode, _start = hurt.decode, hurt.Screener.__init__


def _slow_decode(data: bytes, at_least: int) -> Any:
    """Decode as long as a large film takes, so that a backlog of small ones lasts."""
    time.sleep(_film_seconds)
    crash_on_poison(data)
    return _decode(data, at_least)


def _start_with_slow_store(self: Any, settings: Any, database: Any, store: Any, *others: Any) -> None:
    store.get = slowed("store-slow", STORE_SECONDS, store.get)
    _start(self, settings, database, store, *others)


hurt.decode = dying("decode", _slow_decode)
hurt.Screener.__init__ = _start_with_slow_store
hurt.Screener._predict = dying("predict", hurt.Screener._predict)
# Celery acknowledges the ticket after the task: the outcomes are written, the message is not yet gone.
hurt.Screener._finish = dying("written", hurt.Screener._finish, afterwards=True)
