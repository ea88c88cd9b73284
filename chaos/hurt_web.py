"""The pages and the API with fault injection: `gunicorn chaos.hurt_web:app`."""

from typing import Any

from chaos.injector import bend_clock, dying

bend_clock()

from shared.intake import accept
from shared.queue import tickets  # after the clock is replaced, before the web imports their functions

hurt: Any = accept
hurt.accept = dying("upload", accept.accept)
hurt = tickets
# The images are committed, but not yet confirmed to their sender.
hurt.try_send_tickets = dying("answer", tickets.try_send_tickets)

from web.wsgi import app

__all__ = ["app"]
