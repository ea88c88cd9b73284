"""Limit how long a client may block a thread: by its remaining time, and by how many other requests wait."""

import errno
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

SMALL_BODY: Final = 64 * 1024
"""Bodies up to this size are read before a thread is taken; anonymous clients may not send larger ones."""

_SEND_BYTES: Final = 256 * 1024
_SUSPECT_SECONDS: Final = 1.0
"""Shorter waits are normal for any client."""
_RUSH_BYTES_PER_SECOND: Final = 16 * 1024
"""A slower client is cut off when a request has no thread; a phone's upload is faster."""


class ClientTooSlow(TimeoutError):
    """Say that a client sent or received too little for too long."""

    def __init__(self) -> None:
        # This errno makes gunicorn close the connection without logging each one.
        super().__init__(errno.ECONNRESET, "The client sent or took too little for too long.")


@dataclass
class Line:
    """The threads of one pool that are waiting for clients.

    A slow but honest client keeps its thread while others are free, and is cut off when requests have none.
    """

    grace_seconds: float
    least_bytes_per_second: float
    _waiting: "set[PacedSocket]" = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, client: "PacedSocket") -> None:
        """Add a waiting client."""
        with self._lock:
            self._waiting.add(client)

    def leave(self, client: "PacedSocket") -> None:
        """Remove a waiting client."""
        with self._lock:
            self._waiting.discard(client)

    def ease(self, requests: int) -> int:
        """Cut off the slowest clients, at most one per request without a thread; return how many."""
        with self._lock:
            slow = [client for client in self._waiting if client.is_slow()]
        chosen = sorted(slow, key=PacedSocket.rate)[:requests]
        for client in chosen:
            client.cut()
        return len(chosen)


class PacedSocket(socket.socket):
    """A client's connection whose reads and writes wait for the client within a time limit.

    A client has `grace_seconds` of waiting, and regains them by the bytes that it sends or receives.
    """

    def __init__(self, plain: socket.socket, line: Line) -> None:
        super().__init__(fileno=plain.detach())
        self.may_wait = False
        """Whether a thread may wait for unsent bytes; requests other than uploads are already complete."""
        self.is_cut = False
        self._begun: float | None = None
        self.begin(line)

    def begin(self, line: Line) -> None:
        """Start a request, in the line of its pool, with a new grace period."""
        self._line = line
        self._left = line.grace_seconds
        self._waited, self._moved = 0.0, 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return received bytes, at least one, or none at the end of the stream; raise ClientTooSlow."""
        while True:
            try:
                data = super().recv(size, flags | socket.MSG_DONTWAIT)
            except BlockingIOError as error:
                if not self.may_wait:
                    raise ClientTooSlow from error
                self._wait(select.POLLIN)
            else:
                self._earn(len(data))
                return data

    def recv_now(self, size: int) -> bytes:
        """Return received bytes without waiting; raise BlockingIOError where there are none."""
        return super().recv(size, socket.MSG_DONTWAIT)

    def send_now(self, data: bytes) -> bool:
        """Send a few bytes without waiting, and tell whether all were sent."""
        try:
            return super().send(data, socket.MSG_DONTWAIT) == len(data)
        except OSError:  # the client has gone, or receives nothing
            return False

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all data; raise ClientTooSlow where the client receives too little for too long."""
        rest = memoryview(data).cast("B")
        while rest:
            try:
                sent = super().send(rest[:_SEND_BYTES], flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLOUT)
            else:
                self._earn(sent)
                rest = rest[sent:]

    def waited(self) -> float:
        """Return for how long this request has waited for its client."""
        begun = self._begun
        return self._waited + (0.0 if begun is None else time.monotonic() - begun)

    def is_slow(self) -> bool:
        """Tell whether this client is too slow to make others wait."""
        return self.waited() > _SUSPECT_SECONDS and self.rate() < _RUSH_BYTES_PER_SECOND

    def rate(self) -> float:
        """Return the bytes moved per second of waiting."""
        return self._moved / max(self.waited(), 1e-3)

    def cut(self) -> None:
        """End any thread's wait for this client."""
        self.is_cut = True
        with suppress(OSError):  # it may have closed by itself
            self.shutdown(socket.SHUT_RDWR)

    def _earn(self, count: int) -> None:
        self._moved += count
        earned = self._left + count / self._line.least_bytes_per_second
        self._left = min(self._line.grace_seconds, earned)

    def _wait(self, event: int) -> None:
        if self.is_cut or self._left <= 0:
            raise ClientTooSlow
        poll = select.poll()
        poll.register(self, event)
        if not self._waited:
            self._moved = 0  # what filled the kernel's buffer at once tells nothing about the client
        self._begun = begun = time.monotonic()
        self._line.enter(self)
        try:
            is_ready = bool(poll.poll(self._left * 1000))
        finally:
            self._line.leave(self)
            self._begun = None
        took = time.monotonic() - begun
        self._waited, self._left = self._waited + took, self._left - took
        if not is_ready or self.is_cut:
            raise ClientTooSlow
