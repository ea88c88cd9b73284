"""gunicorn's configuration: `gunicorn --config python:web.server web.wsgi:app`."""

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
"""Database threads besides those of requests, for `shared.submission.capacity` and `web.watch`."""

# gunicorn would trust X-Forwarded-Proto and SCRIPT_NAME of any local client. `proxies` trusts as many proxies as the
# setting says.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# A file sent by the kernel would bypass the time limit that `web.http.pacing` sets for a client.
sendfile = False

_ANSWER_BYTES: Final = 256 * 1024


def when_ready(server: Any) -> None:
    """Let the kernel buffer whole answers of pages, scripts and the API, so that no thread waits for slow clients.

    Accepted sockets inherit the option from the listening one (socket(7), SO_SNDBUF).
    """
    # gunicorn 27 receives up to 1 MiB ahead and copies the rest at each read of 64 KiB: 2 ms for an image of 225 KB.
    SocketUnreader.max_body_chunk = READ_BYTES
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ANSWER_BYTES)


def post_fork(_server: Any, worker: Any) -> None:
    """Load the application, with a database connection for each thread.

    Garbage collection is off meanwhile, as loading creates no garbage; `web.wsgi` turns it on again.
    """
    gc.disable()
    connections = load_settings().database_connections or worker.cfg.threads + WATCHERS
    os.environ[f"{PREFIX}DATABASE_CONNECTIONS"] = str(connections)


def post_worker_init(worker: Any) -> None:
    """Load the ticket sender while the first pages are already served."""
    threading.Thread(target=_prepare, args=(worker.wsgi.extensions[EXTENSION].tickets,), daemon=True).start()


def _prepare(ticket_sender: Any) -> None:
    ticket_sender.prepare()
    spare_loaded()
