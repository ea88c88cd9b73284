"""What gunicorn has to be told in code: `gunicorn --config python:web.server web.wsgi:app`."""

import gc
import socket
import struct
import threading
from typing import Any

from gunicorn.http.unreader import SocketUnreader

from shared.garbage import spare_loaded
from shared.settings import load_settings
from web.multipart import READ_BYTES
from web.parts import EXTENSION


def when_ready(server: Any) -> None:
    """Have the kernel end a read or write that a client leaves hanging.

    A thread serves one client at a time, and gunicorn waits for ever: as many stalled clients as there are threads
    would stop the server. Accepted sockets inherit the option from the listening one (socket(7), SO_RCVTIMEO).
    """
    # gunicorn 27 receives up to 1 MiB ahead and copies the rest at each read of 64 KiB: 2 ms a film of 225 KB.
    SocketUnreader.max_body_chunk = READ_BYTES
    seconds = load_settings().client_seconds
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    for listener in server.LISTENERS:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, limit)


def post_fork(_server: Any, _worker: Any) -> None:
    """Load the application without collecting garbage, of which loading makes none; `web.wsgi` collects again."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """Load what rings while the first pages are shown already."""
    threading.Thread(target=_prepare, args=(worker.wsgi.extensions[EXTENSION].doorbell,), daemon=True).start()


def _prepare(doorbell: Any) -> None:
    doorbell.prepare()
    spare_loaded()
