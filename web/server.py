"""What gunicorn has to be told in code: `gunicorn --config python:web.server web.wsgi:app`."""

import gc
import os
import socket
import threading
from typing import Any, Final

from gunicorn.http.unreader import SocketUnreader

from shared.process.memory import spare_loaded
from shared.settings import PREFIX, load_settings
from web.base.services import EXTENSION
from web.uploads.multipart import READ_BYTES

WATCHERS: Final = 4
"""Threads beside those of requests that look at the database, for `shared.submission.capacity` and `web.watch`."""

# gunicorn would believe X-Forwarded-Proto and SCRIPT_NAME of whoever comes from this machine. `proxies` believes
# as many proxies as the setting says.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# A file sent by the kernel would pass by the time that `web.http.pacing` gives a client.
sendfile = False

_ANSWER_BYTES: Final = 256 * 1024


def when_ready(server: Any) -> None:
    """Have the kernel keep whole answers of pages, scripts and the API, so that no thread waits until one is taken.

    Accepted sockets inherit the option from the listening one (socket(7), SO_SNDBUF).
    """
    # gunicorn 27 receives up to 1 MiB ahead and copies the rest at each read of 64 KiB: 2 ms an image of 225 KB.
    SocketUnreader.max_body_chunk = READ_BYTES
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ANSWER_BYTES)


def post_fork(_server: Any, worker: Any) -> None:
    """Load the application with a connection to the database for each thread.

    No garbage is collected meanwhile, of which loading makes none; `web.wsgi` collects again.
    """
    gc.disable()
    connections = load_settings().database_connections or worker.cfg.threads + WATCHERS
    os.environ[f"{PREFIX}DATABASE_CONNECTIONS"] = str(connections)


def post_worker_init(worker: Any) -> None:
    """Load what sends tickets while the first pages are shown already."""
    threading.Thread(target=_prepare, args=(worker.wsgi.extensions[EXTENSION].tickets,), daemon=True).start()


def _prepare(ticket_sender: Any) -> None:
    ticket_sender.prepare()
    spare_loaded()
