"""A program that webhooks call: a real HTTP server on loopback that keeps what it gets and answers as it is told."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Verify it as github.com/standard-webhooks/standard-webhooks says, by none of our code."""
        key = base64.b64decode(secret.split("_", 1)[1])
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        is_recent = abs(time.time() - int(self.headers["webhook-timestamp"])) < 60
        return is_recent and hmac.compare_digest(expected, self.headers["webhook-signature"])


@dataclass
class Receiver:
    """What came in, and how to answer."""

    url: str
    calls: list[Call] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """One for each call in turn; 204 where there is none left."""
    seconds: float = 0.0
    """How long to wait before each answer."""
    drips: bool = False
    """Answer a byte of a header at a time, without an end."""
    body: int = 0
    """Bytes of each answer."""
    at_once: int = 0
    most_at_once: int = 0


def _handler(receiver: Receiver, lock: threading.Lock, ended: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                receiver.calls.append(Call(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.at_once += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
                status = receiver.answers.pop(0) if receiver.answers else 204
            ended.wait(receiver.seconds)
            with lock:
                receiver.at_once -= 1
            try:
                self._drip() if receiver.drips else self._answer(status)
            except OSError:  # whoever asked has gone, which is what some tests want
                self.close_connection = True

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", str(receiver.body))
            self.end_headers()
            for _ in range(receiver.body // 65536):
                self.wfile.write(b"x" * 65536)

        def _drip(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.05):
                self.wfile.write(b"x")

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver; over TLS where a context is given, as `localhost`."""
    receiver = Receiver("")
    ended = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver, threading.Lock(), ended))
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a handshake that is broken off is meant
    scheme, host = ("https", "localhost") if context else ("http", "127.0.0.1")
    receiver.url = f"{scheme}://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
