"""gunicorn worker resistant to slow clients: no thread waits for a request's header or for a too slow client.

gunicorn gives each connection a thread that waits for the header: as many slow senders as there are threads stop the
server (slowloris), without an account. Here one event loop reads header and small body, each connection within a
deadline, and only then takes a thread. Uploads, pictures and health checks have their own threads; `web.http.pacing`
limits how long any of them waits for its client.
"""

import errno
import logging
import re
import resource
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from shared.settings import load_settings
from web.http.pacing import SMALL_BODY, Line, PacedSocket
from web.http.problem_codes import code_of

log = logging.getLogger(__name__)

MOST_HEADER: Final = 64 * 1024
"""In bytes; gunicorn's own limits (its settings limit_request_*) are 100 fields, each of 8,190 bytes."""

_RECEIVE_BYTES: Final = 64 * 1024
_HEALTH_PATHS: Final = (b"/healthz", b"/readyz", b"/metrics")
_HEALTH: Final = re.compile(rb"(?:GET|HEAD) (" + b"|".join(_HEALTH_PATHS) + rb")[ ?]")
_PICTURES: Final = (b"GET /screenings/", b"HEAD /screenings/")
"""One page of a list requests a hundred of them, and each reads the image store."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_WAITS_FOR_WORD: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_INVALID: Final = "Invalid request from ip="
_QUOTED: Final = re.compile(r":? *(?:b?['\"]).*", re.DOTALL)
_HEADER_END: Final = b"\r\n\r\n"
# RFC 9112, section 9.6: closing a connection with unread bytes may lose the answer.
_LINGER_SECONDS: Final = 30.0
_LINGER_IDLE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5
_BREATH_SECONDS: Final = 0.05
_REQUESTS_A_THREAD: Final = 16
"""The most requests in progress per thread: more would wait longer than their senders do."""
_MOST_QUEUED_SECONDS: Final = 20.0
_DRAIN_BYTES: Final = 64 * 1024

_UNREADABLE: Final = (
    "The server could not read the request. Check its first line, the length of its path and its header (RFC 9112)."
)
_REFUSALS: Final = {
    408: ("Request Timeout", "The request did not come in whole in time. Send it again."),
    431: ("Request Header Fields Too Large", f"A header has at most {MOST_HEADER:,} bytes and 100 fields of 8,190."),
    503: ("Service Unavailable", f"Too many requests are under way. Try again in {_RETRY_SECONDS} s."),
}


def refusal(status: int) -> bytes:
    """Return an error response without calling the application."""
    usual = _UNREADABLE if status < 500 else "The server could not answer. Its log says why."
    title, detail = _REFUSALS.get(status, (HTTPStatus(status).phrase, usual))
    body = (
        f'{{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}","code":"{code_of(status)}"}}'
    )
    retry = f"Retry-After: {_RETRY_SECONDS}\r\n" if status == 503 else ""
    return (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        f"{retry}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}"
    ).encode()


class ErrorPageSink:
    """Intercept gunicorn's own error page, and send problem details (RFC 9457) of the same status instead.

    The page is HTML without security headers, and quotes what the client sent.
    """

    def __init__(self, sock: PacedSocket) -> None:
        self._sock = sock

    def gettimeout(self) -> float:
        """Return 0: writing does not block."""
        return 0.0

    def sendall(self, page: bytes) -> None:
        """Send the problem details."""
        self._sock.send_now(refusal(int(page.split(b" ", 2)[1])))


class Connection(TConn):
    """One client's connection, and what it has sent of its next request."""

    def __init__(self, cfg: Any, plain: socket.socket, client: Any, server: Any, line: Line) -> None:
        super().__init__(cfg, PacedSocket(plain, line), client, server)
        self.data_ready = True  # gunicorn must not wait for it in a thread
        self.received = bytearray()
        self.needed: int | None = None
        """How many bytes must be received before a thread starts; None while the header is incomplete."""
        self.deadline = 0.0
        self.is_upload = False
        """Whether most of the body is still to come."""
        self.is_surplus = False
        """Whether it exceeds the limit: then it only gets health checks answered, else 503."""
        self.is_ending = False
        self.end = 0.0

    def take(self, data: bytes) -> bool:
        """Add bytes of a request, and tell whether a thread can start on it."""
        start = max(0, len(self.received) - len(_HEADER_END))
        self.received += data
        if self.needed is None:
            while self.received.startswith(b"\r\n"):  # RFC 9112, section 2.2: skip leading empty lines
                del self.received[:2]
                start = 0
            end = self.received.find(_HEADER_END, start)
            if end < 0:
                return False
            self.needed = self._measure(bytes(self.received[: end + len(_HEADER_END)]))
        return len(self.received) >= self.needed

    def _measure(self, header: bytes) -> int:
        length = _LENGTH.search(header)
        body = int(length[1]) if length is not None else 0
        self.is_upload = body > SMALL_BODY or _CHUNKED.search(header) is not None
        if self.is_upload:
            return len(header)
        if body and _WAITS_FOR_WORD.search(header):
            self.sock.send_now(_GO_ON)  # gunicorn repeats it, which RFC 9110, section 15.2, allows
        return len(header) + body

    def begin(self, line: Line) -> None:
        """Pass the received bytes to the parser."""
        self.init()
        self.sock.begin(line)
        self.parser.unreader.unread(bytes(self.received))
        self.received, self.needed = bytearray(), None


@dataclass
class Pool:
    """Threads for one kind of request, with a count of their requests."""

    threads: int
    name: str
    line: Line
    under_way: int = 0

    def __post_init__(self) -> None:
        self.executor = ThreadPoolExecutor(self.threads, thread_name_prefix=self.name)

    @property
    def is_full(self) -> bool:
        """Tell whether one more request would wait longer than its sender does."""
        return self.under_way >= self.threads * _REQUESTS_A_THREAD

    def ease(self, *, is_ending: bool = False) -> None:
        """Cut off slow clients in favour of requests without a thread, or of a server shutdown."""
        requests = self.under_way if is_ending else self.under_way - self.threads
        if requests > 0 and (cut := self.line.ease(requests)):
            log.warning("Slow clients were cut off, because requests waited for a thread: %d.", cut)


class Nameless(logging.Filter):
    """Remove client input from gunicorn's log: a malformed request or a search may name a patient."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep only the error of an invalid request, and the path of a failed one."""
        if str(record.msg).startswith(_INVALID):
            record.msg = _QUOTED.sub("", str(record.msg))
        elif isinstance(record.args, tuple):
            record.args = tuple(part.partition("?")[0] if isinstance(part, str) else part for part in record.args)
        return True


def _announce_end(pages: Any) -> Any:
    """Send `Connection: close` with an answer that leaves more of a body unread than will be drained.

    Without it a client sends its next request on a closing connection (RFC 9112, section 9.6).
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        answered = pages(environ, start_response)
        reader = environ["wsgi.input"].reader
        if getattr(reader, "length", 0) > _DRAIN_BYTES:  # unknown for a chunked body
            start_response.__self__.force_close()  # gunicorn's response, not yet sent
        return answered

    return answer


class Worker(ThreadWorker):
    """gunicorn's threaded worker with this module's handling of connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log.error_log.addFilter(Nameless())
        self.settings = load_settings()
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = min(self.cfg.worker_connections, handles // 2)
        self.worker_connections = 2 * self.cfg.worker_connections  # above `most`, connections get 503
        self.waiting: dict[Connection, None] = {}
        """Connections in the event loop, the longest waiting first."""
        uploads, pictures = max(1, self.cfg.threads // 3), max(1, self.cfg.threads // 4)
        self.uploads, self.pictures = self._make_pool(uploads, "upload"), self._make_pool(pictures, "picture")
        self.pages = self._make_pool(max(1, self.cfg.threads - uploads - pictures), "page")
        self.health = {path: self._make_pool(1, "health") for path in _HEALTH_PATHS}

    def _make_pool(self, threads: int, name: str) -> Pool:
        settings = self.settings
        return Pool(threads, name, Line(settings.client_seconds, settings.least_bytes_per_second))

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the pool that gunicorn shuts down at the end."""
        return self.pages.executor

    # ---------------------------------------------------------------- in

    def accept(self, listener: Any) -> None:
        """Accept a connection; where there are too many, drop the one that has waited longest in the event loop."""
        try:
            plain, client = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                log.warning("No file handle is left for a connection: %s", error)
                if not self._make_room():
                    time.sleep(_BREATH_SECONDS)
            elif error.errno not in {errno.EAGAIN, errno.ECONNABORTED}:
                raise
            return
        conn = Connection(self.cfg, plain, client, listener.getsockname(), self.pages.line)
        conn.is_surplus = self.nr_conns >= self.most and not self._make_room()
        self.nr_conns += 1
        self._await_request(conn, self.settings.header_seconds)
        self._receive(conn)

    def _make_room(self) -> bool:
        found = next((conn for conn in self.waiting if conn.is_ending), None) or next(iter(self.waiting), None)
        if found is not None:
            self._drop(found)
        return found is not None

    def _await_request(self, conn: Connection, seconds: float) -> None:
        conn.deadline = time.monotonic() + seconds
        self._watch(conn, self._receive)

    def _watch(self, conn: Connection, react: Callable[[Connection], None]) -> None:
        self.waiting[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, lambda _sock: self._react(conn, react))

    def _react(self, conn: Connection, react: Callable[[Connection], None]) -> None:
        """Handle a client's event, unless another event of the same loop iteration has dropped it (`_make_room`)."""
        if conn in self.waiting:
            react(conn)

    def _unwatch(self, conn: Connection) -> None:
        if self.waiting.pop(conn, self) is None:
            self.poller.unregister(conn.sock)

    def _receive(self, conn: Connection) -> None:
        try:
            data = conn.sock.recv_now(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
        else:
            self._take(conn, data)

    def _take(self, conn: Connection, data: bytes) -> None:
        was_idle, had_header = not conn.received, conn.needed is not None
        if conn.take(data):
            self._unwatch(conn)
            self.enqueue_req(conn)
        elif conn.needed is None and len(conn.received) > MOST_HEADER:
            self._refuse(conn, 431)
        elif conn.needed is not None and not had_header:
            conn.deadline += conn.needed / self.settings.least_bytes_per_second
        elif was_idle:
            conn.deadline = time.monotonic() + self.settings.header_seconds

    def enqueue_req(self, conn: Connection) -> None:
        """Pass a complete request to a thread."""
        pool = self._pool_of(conn)
        if pool.is_full or (conn.is_surplus and pool not in self.health.values()):
            self._refuse(conn, 503)
            return
        pool.under_way += 1
        conn.begin(pool.line)
        answered = pool.executor.submit(self._handle, conn, time.monotonic())
        answered.add_done_callback(partial(self.method_queue.defer, self._finish, conn, pool))

    def _pool_of(self, conn: Connection) -> Pool:
        asked = _HEALTH.match(conn.received)
        if asked is not None:
            return self.health[asked[1]]
        if conn.is_upload:
            return self.uploads
        return self.pictures if conn.received.startswith(_PICTURES) else self.pages

    def _handle(self, conn: Connection, since: float) -> bool:
        """Answer a request queued at `since`, with 503 if it has waited too long."""
        is_late = time.monotonic() - since > _MOST_QUEUED_SECONDS
        if not is_late and (self.alive or not conn.is_upload):  # a server shutting down starts no upload
            return bool(self.handle(conn))
        conn.sock.send_now(refusal(503))
        return False

    def load_wsgi(self) -> None:
        """Load the application, and make its answers announce a closing connection."""
        super().load_wsgi()
        self.wsgi.wsgi_app = _announce_end(self.wsgi.wsgi_app)

    def handle_error(self, req: Any, client: PacedSocket, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn cannot parse, or an application error outside of Flask, and log it."""
        super().handle_error(req, ErrorPageSink(client), addr, exc)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Answer one request; only an upload may wait for the rest of its body."""
        conn.sock.may_wait = conn.is_upload
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        conn.sock.may_wait = False  # the rest of a body is read in the event loop, see `_end`
        return keepalive and bool(conn.parser.finish_body(max_bytes=_DRAIN_BYTES))

    # ---------------------------------------------------------------- out

    def _finish(self, conn: Connection, pool: Pool, answered: "Future[bool]") -> None:
        """Wait for a connection's next request, or close it."""
        pool.under_way -= 1
        is_kept = not answered.cancelled() and answered.exception() is None and answered.result()
        if not is_kept or conn.sock.is_cut:
            self._end(conn)
            return
        self._await_request(conn, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        early = conn.parser.unreader.take_buffered()
        if early:
            self._take(conn, early)

    def _refuse(self, conn: Connection, status: int) -> None:
        if conn.sock.send_now(refusal(status)):
            self._end(conn)
        else:
            self._drop(conn)

    def _end(self, conn: Connection) -> None:
        """Shut down sending, but read on for a while (lingering close): a client still sending must get its answer."""
        self._unwatch(conn)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.is_ending = True
        conn.end = time.monotonic() + (_LINGER_SECONDS if self.alive else STOP_KEEPALIVE_LINGER)
        conn.deadline = min(conn.end, time.monotonic() + _LINGER_IDLE_SECONDS)
        self._watch(conn, self._discard)

    def _discard(self, conn: Connection) -> None:
        try:
            data = conn.sock.recv_now(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            conn.deadline = min(conn.end, time.monotonic() + _LINGER_IDLE_SECONDS)
        else:
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self._unwatch(conn)
        self.nr_conns -= 1
        conn.close()

    # ---------------------------------------------------------------- deadlines, called by gunicorn's loop

    def murder_pending(self) -> None:
        """End the connections whose deadline has passed."""
        for pool in (self.pages, self.pictures, self.uploads):
            pool.ease(is_ending=not self.alive)
        now = time.monotonic()
        for conn in [conn for conn in self.waiting if conn.deadline <= now]:
            if conn.received and not conn.is_ending:
                self._refuse(conn, 408)
            else:
                self._drop(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close every connection in the event loop on shutdown."""
        for conn in list(self.waiting) if force else ():
            self._drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self.waiting:
            conn.deadline = min(conn.deadline, deadline)
