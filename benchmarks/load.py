"""A cheap load generator: it keeps a server busy and costs little, because it shares the server's cores.

It runs in its own process over plain keep-alive sockets, its bodies are built before the clock starts, and every answer
is checked.
"""

import base64
import json
import math
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.05
"""Interval between polls for a result: twenty a second cost a server next to nothing."""
LABELS = ("NORMAL", "PNEUMONIA")
BOUNDARY = "image-7c41d0a9f3"

NamedImage = tuple[str, bytes]
Packed = tuple[bytes, dict[str, str]]
"""A request's body and headers."""


class Unanswered(Exception):
    """Say which image got no label, and what the server answered instead."""


@dataclass(frozen=True)
class Answer:
    """A server's prediction for one image."""

    label: str
    p_pneumonia: float


@dataclass(frozen=True)
class Exchange:
    """How to send an image to a server and read its answer. The functions must be importable, as they are pickled."""

    path: str
    pack: Callable[[str, bytes], Packed]
    read: Callable[[object], object]
    """Takes the decoded JSON of a response and returns the mapping with `label` and `p_pneumonia`."""
    result: str | None = None
    """For a server that queues: the path of a result, with `{id}`. It answers 202 until the result is available."""


@dataclass(frozen=True)
class Load:
    """The measurements of one run of the client."""

    seconds: float
    """From the first byte sent to the last answer read."""
    latencies: tuple[float, ...]
    """Seconds from sending an image to reading its answer, in the order of the images."""
    answers: tuple[Answer, ...]
    """In the order of the images."""
    client_seconds: float
    """Processor time of the client itself."""

    @property
    def rate(self) -> float:
        """Return images a second."""
        return len(self.answers) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency in seconds at the percentile `share` (0 to 1, nearest rank)."""
        ranked = sorted(self.latencies)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def as_form(field: str, name: str, image: bytes) -> Packed:
    """Pack an image as a browser's form does, multipart/form-data."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def as_body(_: str, image: bytes) -> Packed:
    """Pack an image as the body itself."""
    return image, {"Content-Type": "image/jpeg"}


def as_inference_request(_: str, image: bytes) -> Packed:
    """Pack an image as a tensor of one base64 element, by the Open Inference Protocol (V2) in JSON."""
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(image).decode()],
    }
    return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


def plain(said: object) -> object:
    """Read an answer that is the mapping itself."""
    return said


def first_of_list(said: object) -> object:
    """Read an answer that is a list of one mapping."""
    return said[0] if isinstance(said, list) and len(said) == 1 else said


def inference_response(said: object) -> object:
    """Read an answer by the Open Inference Protocol (V2) with the outputs `label` and `p_pneumonia`."""
    outputs = said.get("outputs") if isinstance(said, dict) else None
    return {output["name"]: output["data"][0] for output in outputs} if outputs else said


def saturate(port: int, exchange: Exchange, images: Sequence[NamedImage], connections: int) -> Load:
    """Send images to a server on this machine over so many parallel connections, from a separate process.

    Raises Unanswered where an image gets anything but a label, and OSError where the server is unreachable.
    """
    if not images or connections < 1:
        raise ValueError(f"Images and connections must be at least 1. Received: {len(images)} and {connections}.")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(send, port, exchange, images, connections).result()


def send(port: int, exchange: Exchange, images: Sequence[NamedImage], connections: int) -> Load:
    """Send images like `saturate`, but in this process."""
    run = _Run(port, exchange, images)
    processor, started = time.process_time(), time.perf_counter()
    run.across(min(connections, len(images)), run.submit)
    if exchange.result is not None:
        # One connection polls in the order of sending; it keeps up with any of the servers.
        run.across(1, run.collect)
    finished = time.perf_counter()
    return Load(
        seconds=finished - started,
        latencies=tuple(done - begun for begun, done in zip(run.begun, run.done, strict=True)),
        answers=tuple(answer for answer in run.answers if answer is not None),
        client_seconds=time.process_time() - processor,
    )


class _Run:
    """One pass over the images."""

    def __init__(self, port: int, exchange: Exchange, images: Sequence[NamedImage]) -> None:
        self.port = port
        self.exchange = exchange
        self.names = [name for name, _ in images]
        self.packed = [exchange.pack(name, image) for name, image in images]
        self.begun = [0.0] * len(images)
        self.done = [0.0] * len(images)
        self.paths = [""] * len(images)
        self.answers: list[Answer | None] = [None] * len(images)
        self.failures: list[Exception] = []

    def across(self, connections: int, work: Callable[[HTTPConnection, int], None]) -> None:
        """Run `work` for every image over so many connections, each taking the next image when free."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(self.packed)):
            waiting.put(index)
        threads = [threading.Thread(target=self._drain, args=(waiting, work)) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _drain(self, waiting: "queue.SimpleQueue[int]", work: Callable[[HTTPConnection, int], None]) -> None:
        connection = HTTPConnection(HOST, self.port, timeout=TIMEOUT_SECONDS)
        try:
            while not self.failures:
                work(connection, waiting.get_nowait())
        except queue.Empty:
            return
        except (OSError, HTTPException, Unanswered) as failure:
            self.failures.append(failure)
        finally:
            connection.close()

    def submit(self, connection: HTTPConnection, index: int) -> None:
        body, headers = self.packed[index]
        self.begun[index] = time.perf_counter()
        connection.request("POST", self.exchange.path, body, headers)
        status, said = self._response(connection, index)
        if self.exchange.result is None:
            self._keep(index, status, said)
        elif status == 202 and isinstance(said, dict) and "id" in said:
            self.paths[index] = self.exchange.result.format(id=said["id"])
        else:
            raise Unanswered(f"{self.names[index]} was not queued. Received: {status} {said!r:.300}")

    def collect(self, connection: HTTPConnection, index: int) -> None:
        until = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            connection.request("GET", self.paths[index])
            status, said = self._response(connection, index)
            if status != 202:
                return self._keep(index, status, said)
            time.sleep(POLL_SECONDS)
        raise Unanswered(f"{self.names[index]} had no result after {TIMEOUT_SECONDS:.0f} s.")

    def _response(self, connection: HTTPConnection, index: int) -> tuple[int, object]:
        response = connection.getresponse()
        said = response.read()
        try:
            return response.status, json.loads(said)
        except ValueError:
            raise Unanswered(f"{self.names[index]} got no JSON. Received: {response.status} {said!r:.300}") from None

    def _keep(self, index: int, status: int, said: object) -> None:
        answer = self.exchange.read(said)
        if status != 200 or not isinstance(answer, dict) or answer.get("label") not in LABELS:
            raise Unanswered(f"{self.names[index]} got no label. Received: {status} {said!r:.300}")
        self.done[index] = time.perf_counter()
        self.answers[index] = Answer(answer["label"], float(answer["p_pneumonia"]))
