"""PneumoScreen under test: the whole stack, started as a user starts it, and a client that sends it images."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil

from cli.client.images import BATCH_BYTES, BATCH_FILES, FIRST_BYTES, FIRST_FILES
from shared.settings import PREFIX

START_SECONDS: Final = 120.0
JOB_SECONDS: Final = 1200.0
LOOK_SECONDS: Final = 0.02

_EVERY_IMAGE: Final = {f"{PREFIX}GATE_IGNORES": "all"}
"""The gate checks every image, which takes time, but lets all pass: peers answer every image, too. Of 2,000 images of
the training set it would refuse nine."""

NamedImage = tuple[str, bytes]
"""A file name and its content."""


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """A running PneumoScreen."""

    port: int
    token: str
    process: "subprocess.Popen[bytes]"
    connection: HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=JOB_SECONDS)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Send one request over the kept-alive connection and return its JSON; raise RuntimeError if it is refused."""
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        self.connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {text[:500]!r}")
        return json.loads(text)

    def send(self, bodies: Sequence["Form"], priority: str = "bulk", name: str = "Benchmark") -> str:
        """Send images as `pneumoscreen screen` does, into one job by several requests; return the job's URL."""
        images = sum(form.images for form in bodies)
        opened = json.dumps({"name": name, "expected_images": images, "priority": priority}).encode()
        address: str = self.ask("POST", "/api/v1/jobs", opened, Content_Type="application/json")["status_url"]
        for form in bodies:
            self.ask("POST", f"{address}/images", form.body, Content_Type=form.media_type)
        self.ask("POST", f"{address}/close")
        return address

    def wait(self, address: str) -> dict[str, Any]:
        """Poll a job until it has finished; raise RuntimeError where that takes too long or an image failed."""
        until = time.monotonic() + JOB_SECONDS
        while (job := self.ask("GET", address))["state"] != "FINISHED":
            if time.monotonic() > until:
                raise RuntimeError(f"The job did not finish: {job['counts']}")
            time.sleep(LOOK_SECONDS)
        if job["counts"]["DONE"] != job["total"]:
            raise RuntimeError(f"Not every image was screened: {job['counts']}")
        found: dict[str, Any] = job
        return found

    def close(self) -> None:
        """Close the connection; the stack goes on."""
        self.connection.close()

    def programs(self) -> dict[str, list[psutil.Process]]:
        """Return its processes by kind: web, worker, sweep, redis, serve."""
        root = psutil.Process(self.process.pid)
        found: dict[str, list[psutil.Process]] = {"serve": [root]}
        for process in root.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.setdefault(_part_of(process.cmdline()), []).append(process)
        return found

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time of each part so far."""
        found = {}
        for part, processes in self.programs().items():
            times = [process.cpu_times() for process in processes]
            found[part] = sum(time.user + time.system for time in times)
        return found


def _part_of(command: Sequence[str]) -> str:
    line = " ".join(command)
    for sign, part in (("web.wsgi", "web"), ("worker.sweep", "sweep"), ("worker.app", "worker"), ("redis", "redis")):
        if sign in line:
            return part
    return "other"


@dataclass(frozen=True)
class Form:
    """A request body with images, built before the clock starts."""

    body: bytes
    images: int
    media_type: str


def make_form(images: Sequence[NamedImage]) -> Form:
    """Write images as multipart/form-data."""
    boundary = uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in images
    ]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return Form(body, len(images), f"multipart/form-data; boundary={boundary}")


def make_forms(images: Sequence[NamedImage]) -> list[Form]:
    """Write images as several requests, as large as those of `pneumoscreen screen`."""
    forms, some, size, most_files, most_bytes = [], list[NamedImage](), 0, FIRST_FILES, FIRST_BYTES
    for image in images:
        if some and (len(some) == most_files or size + len(image[1]) > most_bytes):
            forms.append(make_form(some))
            some, size = [], 0
            most_files, most_bytes = min(2 * most_files, BATCH_FILES), min(2 * most_bytes, BATCH_BYTES)
        some.append(image)
        size += len(image[1])
    return [*forms, make_form(some)]


def fresh(paths: Sequence[Path], salt: int) -> list[NamedImage]:
    """Return images that differ by trailing bytes from any sent before: decoded alike, but new to the store."""
    return [(path.name, path.read_bytes() + salt.to_bytes(4, "big")) for path in paths]


@contextmanager
def running(data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Start PneumoScreen on a data folder, wait until it screens, and stop it."""
    port = free_port()
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--data-dir", str(data_dir), *options]
    surroundings = {**(os.environ if environment is None else environment), **_EVERY_IMAGE}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings)
    with stopped(process):
        _wait_until_ready(process)
        stack = Stack(port, (data_dir / "token").read_text(), process)
        try:
            yield stack
        finally:
            stack.connection.close()


@contextmanager
def stopped(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop a process gracefully at the end."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    """Read the process's output until it reports that it is ready."""
    assert process.stdout is not None  # noqa: S101  # it is a pipe
    for line in process.stdout:
        if b"is ready at" in line:
            return
        if b"shows its pages" in line:
            raise RuntimeError("PneumoScreen started without a worker; its log says why.")
    raise RuntimeError(f"PneumoScreen ended with status {process.wait()} before it was ready.")


def answers(port: int, path: str) -> bool:
    """Tell whether a server on this machine answers a path."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 400
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
