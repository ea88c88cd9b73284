"""A real server and real sockets: clients that are slow, idle or many stop nobody else."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from cli.serving.processes import web_command
from migrations.schema import upgrade
from shared.accounts import tokens, users
from shared.db import Database, now
from shared.states import State
from shared.tables import Job, Priority, Role, Scope, Screening, Source, User
from tests.browser.conftest import running, wait_until_it_answers
from tests.conftest import draw, encode
from tests.integration.conftest import free_port, wait_until
from web.http.pacing import SMALL_BODY

THREADS = 4
MOST_CONNECTIONS = 100
"""Half of the file handles that the server gets."""
QUICK = {"header_seconds": "1", "client_seconds": "20"}
SOON = 5
"""Seconds in which an answer comes that waits for no slow client, however busy the machine is."""
HEAD = b"Host: 127.0.0.1\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@dataclass
class Web:
    """A web process, and a token for it."""

    url: str
    token: str
    log: Path

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self, data: bytes = b"", *, receive_bytes: int | None = None) -> socket.socket:
        """Open a connection and send the beginning of a request."""
        place = urlsplit(self.url)
        client = socket.socket()
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(20)
        client.connect((place.hostname, place.port))
        client.sendall(data)
        return client

    def upload_head(self, length: int) -> bytes:
        return (
            f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


def add_long_names(session: Session, user: User) -> None:
    """Write 1,500 refused files, whose export is larger than what the kernel keeps for a client."""
    job = Job(
        name="long", source=Source.API, created_by_id=user.id, model_name="m", priority=Priority.BULK, closed_at=now()
    )
    session.add(job)
    session.flush()
    refused = {"state": State.REJECTED, "priority": Priority.BULK, "turn": 0, "created_by_id": user.id}
    rows = [{**refused, "job_id": job.id, "position": n, "file_name": f"{n:0500}"} for n in range(1500)]
    session.execute(insert(Screening), rows)


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Web]:
    """Run a web process on a database of its own."""
    database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
    upgrade(database)
    with database.write() as session:
        admin = users.add_user(session, "ada", Role.ADMIN)
        token = tokens.make_token(session, admin, "test", scopes=list(Scope))
        add_long_names(session, admin)
    database.close()
    port, log = free_port(), folder / "web.log"
    url = f"http://127.0.0.1:{port}"
    usual = {"secret_key": "a key for tests only", "redis_url": f"unix://{folder}/no.sock"}
    command = ["bash", "-c", f'ulimit -n {2 * MOST_CONNECTIONS}; exec "$@"', "web"]
    served = [
        "tests.integration.hanging_store:app" if part == "web.wsgi:app" else part
        for part in web_command("127.0.0.1", port, THREADS)
    ]
    with running([*command, *served], folder, log, **{**usual, **settings}):
        wait_until_it_answers(url, log)
        yield Web(url, token, log)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("web"), **QUICK) as web:
        yield web


def has_answer(clients: list[socket.socket]) -> list[socket.socket]:
    """Return the connections on which something can be read."""
    return select.select(clients, [], [], 0.1)[0]


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /sign-in HTTP/1.1\r\n" + HEAD + b"X-Slow: ",
        b"POST /sign-in HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: 60000\r\n\r\nname=",
        b"POST /sign-in HTTP/1.1\r\n" + HEAD + FORM + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: " + b"0" * 30 + b"9\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length : 9\r\n\r\n",
        b"POST /sign-in HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\nGET /sign-in HTTP/1.1\r\nX-Slow: ",
        b"",
    ],
    ids=["header", "form", "form that waits", "zeros", "odd length", "long length", "second request", "nothing"],
)
def test_slow_senders_without_an_account_take_no_thread(web: Web, begun: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(34):
            stack.enter_context(web.connect(begun))
        asked = time.monotonic()
        # 34 that are refused at once are more than the 32 that may be under way, for a moment.
        wait_until(lambda: httpx.get(f"{web.url}/sign-in", timeout=SOON).status_code == 200, SOON, "the page")
        assert time.monotonic() - asked < SOON


def test_a_request_that_never_becomes_whole_is_ended(web: Web) -> None:
    begun = time.monotonic()
    with web.connect(b"GET /sign-in HTTP/1.1\r\n") as client:
        for _ in range(3):  # each byte is in time, the whole is not
            time.sleep(0.3)
            client.sendall(b"X")
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 408
    assert time.monotonic() - begun < 4


def test_an_endless_header_is_refused(web: Web) -> None:
    with web.connect(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000) as client:
        assert read_all(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("header", "status"),
    [(f"Content-Length: {SMALL_BODY + 1}", 413), ("Transfer-Encoding: chunked", 411)],
    ids=["large", "of no known length"],
)
def test_strangers_send_small_bodies_only(web: Web, header: str, status: int) -> None:
    with web.connect(b"POST /sign-in HTTP/1.1\r\nAccept: application/json\r\n" + HEAD + FORM) as client:
        client.sendall(f"{header}\r\nConnection: close\r\n\r\n".encode())
        assert read_all(client).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_form_that_comes_in_pieces_is_answered(web: Web) -> None:
    with web.connect(b"\r\nPOST /sign-in HTTP/1.1\r\nConnection: close\r\n" + HEAD + FORM) as client:
        for piece in (b"Content-Length: 15\r\n", b"\r\nname=a", b"&password"):
            time.sleep(0.05)
            client.sendall(piece)
        assert read_all(client).startswith(b"HTTP/1.1 403 "), "the form was read: it has no CSRF token"


def test_two_requests_at_once_are_both_answered(web: Web) -> None:
    one, two = (f"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: {way}\r\n\r\n" for way in ("keep-alive", "close"))
    with web.connect((one + two).encode()) as client:
        assert read_all(client).count(b'{"status":"ok"}') == 2


def test_a_sender_that_is_refused_before_its_body_ends_gets_the_answer(web: Web) -> None:
    answer = httpx.post(f"{web.url}/api/v1/jobs", content=b"x" * 20_000_000)
    assert (answer.status_code, answer.json()["status"]) == (401, 401)


@pytest.mark.long
@pytest.mark.parametrize(("length", "ends"), [(30_000, False), (200_000, True)])
def test_an_answer_that_leaves_its_body_unread_says_whether_the_connection_ends(
    web: Web, length: int, ends: bool
) -> None:
    """A client may send its next request at once on a connection that goes on."""
    header = f"Authorization: Bearer {web.token}\r\nContent-Length: {length}\r\n\r\n".encode()
    with web.connect(b"POST /api/v1/nowhere HTTP/1.1\r\n" + HEAD + header) as client:
        client.sendall(b"x" * length)
        head = client.recv(65536).split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 404")
    assert (b"\r\nconnection: close" in head) is ends


def test_slow_uploads_leave_pages_alone_and_give_way(web: Web) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(web.connect(web.upload_head(10**6) + b"--edge")) for _ in range(THREADS)]
        for _ in range(3):
            asked = time.monotonic()
            assert httpx.get(f"{web.url}/api/v1/me", headers=web.bearer).status_code == 200
            assert httpx.get(f"{web.url}/readyz").status_code == 200
            assert time.monotonic() - asked < SOON
            time.sleep(0.2)
        images = [("files", ("a.png", encode(draw(1), "PNG") + b"x" * SMALL_BODY))]
        sent = httpx.post(f"{web.url}/api/v1/jobs", files=images, headers=web.bearer, timeout=30)
        assert sent.status_code == 202, sent.text
        assert has_answer(slow), "a slow one gave way"


@pytest.mark.long
def test_slow_readers_give_way(web: Web) -> None:
    """Ask for the largest answer there is and take none of it, on more connections than there are threads."""
    whole = httpx.get(f"{web.url}/api/v1/predictions?format=csv", headers=web.bearer).content
    assert len(whole) > 700_000, "more than the kernel keeps for a client"
    ask = (
        b"GET /api/v1/predictions?format=csv HTTP/1.1\r\n"
        + HEAD
        + f"Authorization: Bearer {web.token}\r\n\r\n".encode()
    )
    with ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(web.connect(ask, receive_bytes=4096))
        time.sleep(0.5)
        asked = time.monotonic()
        assert httpx.get(f"{web.url}/healthz").status_code == 200
        assert time.monotonic() - asked < SOON, "health has a thread of its own"
        assert httpx.get(f"{web.url}/api/v1/me", headers=web.bearer, timeout=10).status_code == 200


def test_a_store_that_hangs_takes_no_thread_of_the_pages(web: Web) -> None:
    """More pictures are asked for than there are threads, and reading the image never ends."""
    sent = httpx.post(f"{web.url}/api/v1/jobs", files={"files": ("a.png", encode(draw(2), "PNG"))}, headers=web.bearer)
    image = httpx.get(f"{web.url}{sent.json()['screenings_url']}", headers=web.bearer).json()["screenings"][0]
    ask = (
        f"GET /screenings/{image['id']}/image HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {web.token}\r\n\r\n"
    )
    hangs = web.log.parent / "hangs"
    hangs.touch()
    with ExitStack() as stack:
        stack.callback(lambda: hangs.unlink(missing_ok=True))
        for _ in range(2 * THREADS):
            stack.enter_context(web.connect(ask.encode()))
        for _ in range(3):
            assert httpx.get(f"{web.url}/healthz", timeout=SOON).status_code == 200
            assert httpx.get(f"{web.url}/api/v1/me", headers=web.bearer, timeout=SOON).status_code == 200
            time.sleep(0.1)
    address = f"{web.url}/screenings/{image['id']}/image"
    wait_until(lambda: httpx.get(address, headers=web.bearer).status_code == 200, 15, "the picture")


def test_too_many_connections_are_bounded_and_idle_ones_make_room(web: Web) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(web.connect()) for _ in range(MOST_CONNECTIONS + 20)]
        for _ in range(3):
            assert httpx.get(f"{web.url}/sign-in", timeout=5).status_code == 200
        assert idle[0].recv(1) == b"", "the first to come is the first to go"


def test_requests_beyond_what_threads_can_do_are_told_to_come_back(web: Web) -> None:
    """Readers that take nothing hold the threads for a moment, and more requests wait than any sender would."""
    ask = (
        b"GET /api/v1/predictions?format=csv HTTP/1.1\r\n"
        + HEAD
        + f"Authorization: Bearer {web.token}\r\n\r\n".encode()
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(web.connect(ask, receive_bytes=4096)) for _ in range(60)]
        assert httpx.get(f"{web.url}/healthz", timeout=SOON).status_code == 200

        def refused() -> bool:
            return any(client.recv(12, socket.MSG_DONTWAIT) == b"HTTP/1.1 503" for client in has_answer(slow))

        wait_until(refused, SOON, "a refusal")
    wait_until(lambda: httpx.get(f"{web.url}/sign-in", timeout=60).status_code == 200, 60, "the threads to be free")


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (b"GET /history?text=Hans Mustermann HTTP/1.1\r\n" + HEAD, "Invalid HTTP Version"),
        (b"GET /history HTTP/1.1\r\n" + HEAD + b"X-Patient Mustermann\r\n", "Invalid HTTP Header"),
        (b"Mustermann / HTTP/1.1\r\n" + HEAD, "Invalid HTTP method"),
        (b"GET \"Mustermann' HTTP/1.1\r\n" + HEAD, "Invalid HTTP request line"),
    ],
)
def test_the_log_does_not_repeat_what_is_no_request(web: Web, request_line: bytes, said: str) -> None:
    before = len(web.log.read_text())
    with web.connect(request_line + b"\r\n") as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: said in web.log.read_text()[before:], SOON, f"a line that says {said}")
    assert "ustermann" not in web.log.read_text()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"G<b>T /sign-in HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"GET /sign-in HTTP/9.7\r\n" + HEAD + b"\r\n", 400),
        (b"GET /sign-in HTTP/1.1\r\n" + HEAD + b"Name <b>: 1\r\n\r\n", 400),
        (b"GET /sign-in HTTP/1.1\r\n" + HEAD + b"Name: 1\r\n more\r\n\r\n", 400),
        (b"GET /" + b"a" * 4095 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
        (b"GET /sign-in HTTP/1.1\r\n" + b"A: 1\r\n" * 200 + b"\r\n", 431),
        (b"POST /sign-in HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: cake\r\n\r\n", 501),
        (b"POST /sign-in HTTP/1.1\r\n" + HEAD + b"Expect: a cake\r\nContent-Length: 0\r\n\r\n", 417),
    ],
    ids=["no path", "method", "version", "name of a header", "folded", "long path", "many headers", "coding", "expect"],
)
def test_a_request_that_cannot_be_read_is_answered_with_a_problem_that_quotes_nothing(
    web: Web, sent: bytes, status: int
) -> None:
    with web.connect(sent) as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    assert b"Cache-Control: no-store" in head
    assert json.loads(body)["status"] == status
    assert b"<" not in body


def test_the_log_does_not_repeat_the_search_of_an_export_that_fails(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        database = Database(f"sqlite:///{tmp_path / 'pneumoscreen.db'}")
        with database.write() as session:
            session.execute(text("ALTER TABLE screenings RENAME TO gone"))
        database.close()
        address = f"{web.url}/api/v1/predictions?format=csv&text=Mustermann"
        assert httpx.get(address, headers=web.bearer).status_code == 500
        wait_until(lambda: "Error handling request GET /api/v1/predictions" in web.log.read_text(), SOON, "its line")
        assert "ustermann" not in web.log.read_text()
