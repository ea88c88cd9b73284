"""How long a client may keep a thread waiting, on real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import wait_until
from web.http.pacing import ClientTooSlow, Line, PacedSocket

RETRY_SECONDS = 0.5
RATE = 1000.0


@pytest.fixture
def line() -> Line:
    return Line(RETRY_SECONDS, RATE)


@pytest.fixture
def ends(line: Line) -> Iterator[tuple[PacedSocket, socket.socket]]:
    """The server's end, on which a thread may wait, and the client's."""
    plain, client = socket.socketpair()
    server = PacedSocket(plain, line)
    server.may_wait = True
    with server, client:
        yield server, client


def trickle(client: socket.socket, data: bytes, every: float, stop: threading.Event) -> None:
    while not stop.wait(every):
        try:
            client.send(data)
        except OSError:
            return


def receive_for(server: PacedSocket, seconds: float) -> int:
    """Read for so long and count the bytes; raises ClientTooSlow."""
    until, received = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        received += len(server.recv(65536))
    return received


def test_a_byte_now_and_then_does_not_keep_a_thread(ends: tuple[PacedSocket, socket.socket]) -> None:
    server, client = ends
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(trickle, client, b"x", 0.05, stop)
        begun = time.monotonic()
        with pytest.raises(ClientTooSlow):
            receive_for(server, 20)
        stop.set()
    assert RETRY_SECONDS <= time.monotonic() - begun < 10


def test_a_client_that_sends_enough_is_waited_for_as_long_as_it_sends(ends: tuple[PacedSocket, socket.socket]) -> None:
    server, client = ends
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(trickle, client, b"x" * 1000, 0.05, stop)
        try:
            assert receive_for(server, 3 * RETRY_SECONDS) > 3 * RETRY_SECONDS * RATE
        finally:
            stop.set()


def test_what_was_earned_before_is_spent_by_waiting(ends: tuple[PacedSocket, socket.socket]) -> None:
    """However much came in at first, a client that then stops is not waited for longer than any other."""
    server, client = ends
    client.sendall(b"x" * 100_000)
    received = 0
    while received < 100_000:
        received += len(server.recv(65536))
    begun = time.monotonic()
    with pytest.raises(ClientTooSlow):
        server.recv(1)
    assert time.monotonic() - begun < 10


def test_a_reader_that_takes_nothing_is_given_up(ends: tuple[PacedSocket, socket.socket]) -> None:
    server, _ = ends
    with pytest.raises(ClientTooSlow):
        server.sendall(b"x" * 10_000_000)


def test_nobody_waits_before_the_header_is_whole(ends: tuple[PacedSocket, socket.socket]) -> None:
    server, client = ends
    server.may_wait = False
    begun = time.monotonic()
    with pytest.raises(ClientTooSlow):
        server.recv(1)
    assert time.monotonic() - begun < RETRY_SECONDS
    client.sendall(b"x")
    assert server.recv(1) == b"x"


@pytest.mark.long
def test_the_slowest_gives_way_and_fast_ones_stay() -> None:
    line = Line(30.0, RATE)
    pairs = [socket.socketpair() for _ in range(3)]
    servers = [PacedSocket(plain, line) for plain, _ in pairs]
    clients = [client for _, client in pairs]
    stop = threading.Event()
    for server in servers:
        server.may_wait = True
    with ThreadPoolExecutor(5) as pool:
        pool.submit(trickle, clients[0], b"x" * 65536, 0.05, stop)
        pool.submit(trickle, clients[1], b"x" * 100, 0.05, stop)
        reading = [pool.submit(receive_for, server, 5) for server in servers]
        wait_until(servers[2].waited, 10, "a thread to wait for the slowest")
        assert line.ease(3) == 0, "everybody is waited for now and then"
        wait_until(lambda: line.ease(1), 10, "the slowest to give way")
        with pytest.raises(ClientTooSlow):
            reading[2].result(10)
        assert not reading[1].done()
        wait_until(lambda: line.ease(3), 10, "the next slowest to give way")
        with pytest.raises(ClientTooSlow):
            reading[1].result(10)
        assert reading[0].result(20) > 0
        stop.set()
    for end in (*servers, *clients):
        end.close()
