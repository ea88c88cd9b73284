"""The server's connections: no thread waits for a request's header, and none for a client that is too slow.

gunicorn gives a thread to each connection and lets it wait for the header: as many slow senders as there are threads
stop the server, without an account. Here one loop gathers header and small body, each connection within a deadline,
and only then is a thread taken. Uploads, pictures and questions of health have threads of their own; how long any of
them waits for its client says `web.http.pacing`.
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
"""Bytes of a header; gunicorn's own limits (its settings limit_request_*) are 100 fields, each of 8,190 bytes."""

_RECEIVE_BYTES: Final = 64 * 1024
_HEALTH_PATHS: Final = (b"/healthz", b"/readyz", b"/metrics")
_HEALTH: Final = re.compile(rb"(?:GET|HEAD) (" + b"|".join(_HEALTH_PATHS) + rb")[ ?]")
_PICTURES: Final = (b"GET /screenings/", b"HEAD /screenings/")
"""One page of a list asks for a hundred of them, and each reads the image store."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_WAITS_FOR_WORD: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_INVALID: Final = "Invalid request from ip="
_QUOTED: Final = re.compile(r":? *(?:b?['\"]).*", re.DOTALL)
_HEADER_END: Final = b"\r\n\r\n"
# RFC 9112, section 9.6: a connection that is closed on unread bytes may lose its answer on the way.
_LINGER_SECONDS: Final = 30.0
_LINGER_IDLE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5
_BREATH_SECONDS: Final = 0.05
_REQUESTS_A_THREAD: Final = 16
"""Requests that may be under way for each thread: more would wait for longer than their senders do."""
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
    """Write an answer that no application is asked for."""
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
    """Take gunicorn's own page of an error, and send the client a problem (RFC 9457) of the same status in its place.

    The page is HTML without security headers, and quotes what the client sent.
    """

    def __init__(self, sock: PacedSocket) -> None:
        self._sock = sock

    def gettimeout(self) -> float:
        """Say that writing waits for nobody."""
        return 0.0

    def sendall(self, page: bytes) -> None:
        """Send the problem."""
        self._sock.send_now(refusal(int(page.split(b" ", 2)[1])))


class Connection(TConn):
    """One client's connection, and what it has sent of its next request."""

    def __init__(self, cfg: Any, plain: socket.socket, client: Any, server: Any, line: Line) -> None:
        super().__init__(cfg, PacedSocket(plain, line), client, server)
        self.data_ready = True  # gunicorn must not wait for it in a thread
        self.received = bytearray()
        self.needed: int | None = None
        """How many bytes a thread begins with; None while the header is not whole."""
        self.deadline = 0.0
        self.is_upload = False
        """Whether most of the body is still to come."""
        self.is_surplus = False
        """Whether it came when there were too many: it gets an answer about health, or is told to come back."""
        self.is_ending = False
        self.end = 0.0

    def take(self, data: bytes) -> bool:
        """Take bytes of a request, and tell whether a thread can begin with it."""
        start = max(0, len(self.received) - len(_HEADER_END))
        self.received += data
        if self.needed is None:
            while self.received.startswith(b"\r\n"):  # RFC 9112, section 2.2: empty lines in front are passed over
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
            self.sock.send_now(_GO_ON)  # gunicorn says it once more, which RFC 9110, section 15.2, allows
        return len(header) + body

    def begin(self, line: Line) -> None:
        """Hand what has been received to the parser."""
        self.init()
        self.sock.begin(line)
        self.parser.unreader.unread(bytes(self.received))
        self.received, self.needed = bytearray(), None


@dataclass
class Pool:
    """Threads for one kind of request, and the requests that they have."""

    threads: int
    name: str
    line: Line
    under_way: int = 0

    def __post_init__(self) -> None:
        self.executor = ThreadPoolExecutor(self.threads, thread_name_prefix=self.name)

    @property
    def is_full(self) -> bool:
        """Tell whether one more request would wait for longer than its sender does."""
        return self.under_way >= self.threads * _REQUESTS_A_THREAD

    def ease(self, *, is_ending: bool = False) -> None:
        """Have slow clients give way to requests that have no thread, or to the end of the server."""
        requests = self.under_way if is_ending else self.under_way - self.threads
        if requests > 0 and (cut := self.line.ease(requests)):
            log.warning("Slow clients were cut off, because requests waited for a thread: %d.", cut)


class Nameless(logging.Filter):
    """Take out of gunicorn's log what a client wrote: a malformed request or a search may name a patient."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what is wrong with a request, and the path of one that failed."""
        if str(record.msg).startswith(_INVALID):
            record.msg = _QUOTED.sub("", str(record.msg))
        elif isinstance(record.args, tuple):
            record.args = tuple(part.partition("?")[0] if isinstance(part, str) else part for part in record.args)
        return True


def _announce_end(pages: Any) -> Any:
    """Say `Connection: close` in an answer that leaves more of a body unread than is read away after it.

    A client that is not told sends its next request on a connection that ends (RFC 9112, section 9.6).
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        answered = pages(environ, start_response)
        reader = environ["wsgi.input"].reader
        if getattr(reader, "length", 0) > _DRAIN_BYTES:  # not where a body comes in chunks of unknown number
            start_response.__self__.force_close()  # gunicorn's response, of which no byte is sent yet
        return answered

    return answer


class Worker(ThreadWorker):
    """gunicorn's threaded worker with this module's way in and out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log.error_log.addFilter(Nameless())
        self.settings = load_settings()
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = min(self.cfg.worker_connections, handles // 2)
        self.worker_connections = 2 * self.cfg.worker_connections  # beyond `most` a connection is told so
        self.waiting: dict[Connection, None] = {}
        """Connections in the loop, the one that has waited longest first."""
        uploads, pictures = max(1, self.cfg.threads // 3), max(1, self.cfg.threads // 4)
        self.uploads, self.pictures = self._make_pool(uploads, "upload"), self._make_pool(pictures, "picture")
        self.pages = self._make_pool(max(1, self.cfg.threads - uploads - pictures), "page")
        self.health = {path: self._make_pool(1, "health") for path in _HEALTH_PATHS}

    def _make_pool(self, threads: int, name: str) -> Pool:
        settings = self.settings
        return Pool(threads, name, Line(settings.client_seconds, settings.least_bytes_per_second))

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Give gunicorn the pool that it shuts down in the end."""
        return self.pages.executor

    # ---------------------------------------------------------------- in

    def accept(self, listener: Any) -> None:
        """Take a connection; where there are too many, the one that has waited longest in the loop makes room."""
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
        """React to a client, unless another event of the same turn of the loop has dropped it (`_make_room`)."""
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
        """Give a whole request to a thread."""
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
        """Answer a request that has waited for its thread since then; not one whose sender has waited too long."""
        is_late = time.monotonic() - since > _MOST_QUEUED_SECONDS
        if not is_late and (self.alive or not conn.is_upload):  # a server that ends begins no upload
            return bool(self.handle(conn))
        conn.sock.send_now(refusal(503))
        return False

    def load_wsgi(self) -> None:
        """Load the pages, and have their answers say where the connection ends with them."""
        super().load_wsgi()
        self.wsgi.wsgi_app = _announce_end(self.wsgi.wsgi_app)

    def handle_error(self, req: Any, client: PacedSocket, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn cannot read, or an application that fails outside of Flask, and log it."""
        super().handle_error(req, ErrorPageSink(client), addr, exc)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Answer one request, with waiting for what is still to come of an upload."""
        conn.sock.may_wait = conn.is_upload
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        conn.sock.may_wait = False  # what is left of a body is read in the loop, see `_end`
        return keepalive and bool(conn.parser.finish_body(max_bytes=_DRAIN_BYTES))

    # ---------------------------------------------------------------- out

    def _finish(self, conn: Connection, pool: Pool, answered: "Future[bool]") -> None:
        """Wait for the next request of a connection, or end it."""
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
        """Close the way out, and read on for a while: the client may still be sending, and has to get its answer."""
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

    # ---------------------------------------------------------------- deadlines, as gunicorn's loop asks for them

    def murder_pending(self) -> None:
        """End the connections whose time is over."""
        for pool in (self.pages, self.pictures, self.uploads):
            pool.ease(is_ending=not self.alive)
        now = time.monotonic()
        for conn in [conn for conn in self.waiting if conn.deadline <= now]:
            if conn.received and not conn.is_ending:
                self._refuse(conn, 408)
            else:
                self._drop(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close every connection of the loop where the server ends."""
        for conn in list(self.waiting) if force else ():
            self._drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self.waiting:
            conn.deadline = min(conn.deadline, deadline)
