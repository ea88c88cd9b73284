"""The client of the benchmarks against a small real server: what it sends, what it believes, and what it counts."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import load

IMAGES = [(f"image-{number}.jpeg", f"\xff\xd8 image {number}\r\n--".encode("latin-1")) for number in range(12)]
FORM = load.Exchange("/form", partial(load.as_form, "file"), load.plain)


class Server(ThreadingHTTPServer):
    """Answers with a label for each image, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.seen: list[bytes] = []
        self.connections = 0
        self.inside = 0
        self.most_inside = 0
        self.asked_too_early = 0

    @property
    def port(self) -> int:
        return self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.inside += 1
            self.server.most_inside = max(self.server.most_inside, self.server.inside)
        time.sleep(0.005)
        image = self.image(body)
        with self.server.lock:
            self.server.seen.append(image)
            self.server.inside -= 1
        getattr(self, "answer_" + self.path[1:])(image)

    def image(self, body: bytes) -> bytes:
        """Take the image out of the body by the standard library's own parsers."""
        kind = self.headers["Content-Type"]
        if kind.startswith("multipart/"):
            (part,) = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).iter_parts()
            assert part.get_param("name", header="content-disposition") == "file"
            return part.get_payload(decode=True)
        if kind == "application/json":
            return base64.b64decode(json.loads(body)["inputs"][0]["data"][0])
        return body

    def answer_form(self, image: bytes) -> None:
        self.say(200, {"label": "PNEUMONIA", "p_pneumonia": int(image.split()[2].removesuffix(b"--")) / 100})

    answer_body = answer_form

    def answer_list(self, _: bytes) -> None:
        self.say(200, [{"label": "NORMAL", "p_pneumonia": 0.25}])

    def answer_tensor(self, _: bytes) -> None:
        outputs = [{"name": "label", "data": ["NORMAL"]}, {"name": "p_pneumonia", "data": [0.25]}]
        self.say(200, {"model_name": "classifier", "outputs": outputs})

    def answer_queue(self, image: bytes) -> None:
        self.say(202, {"id": image.split()[2].decode().removesuffix("--")})

    def answer_busy(self, _: bytes) -> None:
        self.say(503, {"error": "overloaded"})

    def answer_strange(self, _: bytes) -> None:
        self.say(200, {"label": "MAYBE", "p_pneumonia": 0.5})

    def answer_page(self, _: bytes) -> None:
        self.say(500, None, b"<h1>Internal Server Error</h1>")

    def do_GET(self) -> None:
        number = int(self.path.removeprefix("/results/"))
        if number == 0 and self.server.asked_too_early < 2:
            self.server.asked_too_early += 1
            self.say(202, {"state": "PENDING"})
        else:
            self.say(200, {"label": "NORMAL", "p_pneumonia": number / 100})

    def say(self, status: int, answer: object, raw: bytes | None = None) -> None:
        body = raw if raw is not None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_process_of_its_own_sends_every_image_once_and_answers_in_their_order(server: Server) -> None:
    measured = load.saturate(server.port, FORM, IMAGES, connections=4)
    assert sorted(server.seen) == sorted(image for _, image in IMAGES)
    assert [answer.p_pneumonia for answer in measured.answers] == [number / 100 for number in range(12)]
    assert measured.rate == pytest.approx(12 / measured.seconds)
    assert 0.005 < measured.percentile(0.5) <= measured.percentile(0.99) == max(measured.latencies) < measured.seconds


@pytest.mark.parametrize("connections", [1, 3])
def test_connections_stay_open_and_are_never_more_than_asked(server: Server, connections: int) -> None:
    load.send(server.port, FORM, IMAGES, connections)
    assert server.connections == connections
    assert server.most_inside <= connections


def test_there_are_no_more_connections_than_images(server: Server) -> None:
    load.send(server.port, FORM, IMAGES[:2], connections=64)
    assert server.connections <= 2


@pytest.mark.parametrize(
    ("path", "pack", "read"),
    [
        ("/body", load.as_body, load.plain),
        ("/list", partial(load.as_form, "file"), load.first_of_list),
        ("/tensor", load.as_inference_request, load.inference_response),
    ],
)
def test_each_server_is_spoken_to_in_its_own_way(server: Server, path: str, pack: object, read: object) -> None:
    measured = load.send(server.port, load.Exchange(path, pack, read), IMAGES, connections=2)
    assert sorted(server.seen) == sorted(image for _, image in IMAGES)
    assert len(measured.answers) == 12


def test_results_of_a_queue_are_asked_for_until_they_are_there(server: Server) -> None:
    queued = load.Exchange("/queue", partial(load.as_form, "file"), load.plain, result="/results/{id}")
    measured = load.send(server.port, queued, IMAGES, connections=3)
    assert server.asked_too_early == 2
    assert [answer.p_pneumonia for answer in measured.answers] == [number / 100 for number in range(12)]
    assert measured.latencies[0] >= 2 * load.POLL_SECONDS


@pytest.mark.parametrize(
    ("path", "words"),
    [("/busy", "503.*overloaded"), ("/strange", "MAYBE"), ("/page", "no JSON.*500.*Internal"), ("/list", "no label")],
)
def test_anything_but_a_label_ends_the_measurement(server: Server, path: str, words: str) -> None:
    exchange = load.Exchange(path, partial(load.as_form, "file"), load.plain)
    with pytest.raises(load.Unanswered, match=rf"image-\d+.jpeg.*{words}"):
        load.send(server.port, exchange, IMAGES, connections=2)
    assert len(server.seen) < len(IMAGES)


def test_a_failure_crosses_from_the_process_of_its_own(server: Server) -> None:
    with pytest.raises(load.Unanswered, match="overloaded"):
        load.saturate(server.port, load.Exchange("/busy", load.as_body, load.plain), IMAGES[:1], connections=1)


def test_a_server_that_is_not_there_is_an_error(server: Server) -> None:
    port = server.port
    server.server_close()
    with pytest.raises(ConnectionError):  # refused, or reset where the other end closes at this moment
        load.send(port, FORM, IMAGES, connections=2)


def test_nothing_to_send_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        load.saturate(1, FORM, [], connections=1)
