"""How long a client may keep a thread waiting: by the time that it has left, and by how many others wait so."""

import errno
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

SMALL_BODY: Final = 64 * 1024
"""A body of so many bytes is gathered before a thread is taken; strangers may send no larger one."""

_SEND_BYTES: Final = 256 * 1024
_SUSPECT_SECONDS: Final = 1.0
"""Everybody has to be waited for now and then."""
_RUSH_BYTES_PER_SECOND: Final = 16 * 1024
"""A client that is slower than this gives way where a request has no thread; a telephone's upload is faster."""


class ClientTooSlow(TimeoutError):
    """Say that a client sent or took too little for too long."""

    def __init__(self) -> None:
        # The number has gunicorn end the connection without a line in the log for each.
        super().__init__(errno.ECONNRESET, "The client sent or took too little for too long.")


@dataclass
class Line:
    """The threads of one pool that wait for clients at this moment.

    A slow but honest client keeps its thread while threads are to spare, and gives way where requests have none.
    """

    grace_seconds: float
    least_bytes_per_second: float
    _waiting: "set[PacedSocket]" = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, client: "PacedSocket") -> None:
        """Count one more as waiting."""
        with self._lock:
            self._waiting.add(client)

    def leave(self, client: "PacedSocket") -> None:
        """Count one as waiting no more."""
        with self._lock:
            self._waiting.discard(client)

    def ease(self, requests: int) -> int:
        """Cut off the slowest clients, as many as there are requests without a thread; return how many those were."""
        with self._lock:
            slow = [client for client in self._waiting if client.is_slow()]
        chosen = sorted(slow, key=PacedSocket.rate)[:requests]
        for client in chosen:
            client.cut()
        return len(chosen)


class PacedSocket(socket.socket):
    """A client's connection: what one thread reads and writes waits for the client, but not for ever.

    A client has `grace_seconds` of waiting, and earns them back by the bytes that it sends or takes.
    """

    def __init__(self, plain: socket.socket, line: Line) -> None:
        super().__init__(fileno=plain.detach())
        self.may_wait = False
        """Whether a thread may wait for what the client has not sent yet; what is not an upload is there already."""
        self.is_cut = False
        self._begun: float | None = None
        self.begin(line)

    def begin(self, line: Line) -> None:
        """Begin with a request, in the line of the pool that answers it; each has a grace of its own."""
        self._line = line
        self._left = line.grace_seconds
        self._waited, self._moved = 0.0, 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what the client has sent, at least a byte, or none where it has ended; raise ClientTooSlow."""
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
        """Return what is there; raise BlockingIOError where nothing is."""
        return super().recv(size, socket.MSG_DONTWAIT)

    def send_now(self, data: bytes) -> bool:
        """Send a few bytes without waiting, and tell whether they went."""
        try:
            return super().send(data, socket.MSG_DONTWAIT) == len(data)
        except OSError:  # the client has gone, or takes nothing
            return False

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send everything; raise ClientTooSlow where the client takes too little for too long."""
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
        """Tell whether others should not wait for this client."""
        return self.waited() > _SUSPECT_SECONDS and self.rate() < _RUSH_BYTES_PER_SECOND

    def rate(self) -> float:
        """Return the bytes for each second of waiting."""
        return self._moved / max(self.waited(), 1e-3)

    def cut(self) -> None:
        """End the wait of whatever thread waits for this client."""
        self.is_cut = True
        with suppress(OSError):  # it may have gone by itself
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
            self._moved = 0  # what went into the kernel's memory at once says nothing of the client
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
