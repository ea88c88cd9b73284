"""The pages and the API, hurt: `gunicorn chaos.hurt_web:app`."""

from typing import Any

from chaos.injector import bend_clock, dying

bend_clock()

from shared import intake, queue  # after the clock is bent, before the web takes the functions from them

hurt: Any = intake
hurt.accept = dying("upload", intake.accept)
hurt = queue
# The films are committed, their sender does not know yet.
hurt.ring_or_wait = dying("answer", queue.ring_or_wait)

from web.wsgi import app

__all__ = ["app"]
