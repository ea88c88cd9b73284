"""A running PneumoScreen: `pneumoscreen serve` as a user starts it, with short leases."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import select

from cli.serving.processes import bracketed
from shared.db import Database
from shared.settings import Settings
from shared.tables import Prediction, Screening
from tests.conftest import GRAPHS, draw, encode, wait_until
from tests.integration.outgoing import to
from tests.mail_server import MailServer, mail_server

START_SECONDS = 150


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that takes every e-mail."""
    with mail_server() as server:
        yield server


@pytest.fixture
def one(sqlite_database: Database) -> Database:
    """Where one database is enough."""
    return sqlite_database


@pytest.fixture
def local(settings: Settings, server: MailServer) -> Settings:
    """Settings under which e-mails go to that mail server."""
    return to(settings, server)


@dataclass
class Stack:
    """One running installation, and what a user can do with it."""

    data_dir: Path
    url: str
    process: subprocess.Popen
    log: Path
    database: Database

    @property
    def client(self) -> httpx.Client:
        token = (self.data_dir / "token").read_text()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def submit(self, images: dict[str, bytes]) -> str:
        with self.client as client:
            answer = client.post("/api/v1/jobs", files=[("files", item) for item in images.items()])
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, job_id: str) -> dict:
        with self.client as client:
            return client.get(f"/api/v1/jobs/{job_id}").json()

    def wait(self, job_id: str, seconds: float = 60) -> dict:
        wait_until(lambda: self.job(job_id)["state"] == "FINISHED", seconds, f"job {self.job(job_id)['counts']}")
        return self.job(job_id)

    def workers(self) -> list[psutil.Process]:
        """The processes that hold a network: children of the Celery worker."""
        for child in psutil.Process(self.process.pid).children():
            if "worker" in child.cmdline():
                return child.children()
        return []

    def child(self, word: str) -> psutil.Process:
        """The supervised program whose command holds a word."""
        return next(
            child
            for child in psutil.Process(self.process.pid).children()
            if any(word in part for part in child.cmdline())
        )

    def outcomes(self, job_id: str) -> tuple[Counter, int, int]:
        """States of a job's screenings, how many predictions they show, and how many predictions their images have."""
        import uuid

        with self.database.read() as session:
            rows = list(session.scalars(select(Screening).where(Screening.job_id == uuid.UUID(job_id))))
            images = {row.image_id for row in rows}
            predictions = list(session.scalars(select(Prediction.image_id)))
        shown = {row.prediction_id for row in rows if row.prediction_id}
        return Counter(row.state.value for row in rows), len(shown), sum(image in images for image in predictions)


def make_images(count: int, seed: int) -> dict[str, bytes]:
    """Draw distinct images."""
    return {f"image-{seed}-{n}.jpeg": encode(draw(seed * 10_000 + n)) for n in range(count)}


def start(
    data_dir: Path,
    *,
    workers: int = 2,
    host: str = "127.0.0.1",
    umask: int = -1,
    before: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Stack:
    """Start `pneumoscreen serve` without waiting for it."""
    port = free_port()
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    command += ["--host", host]
    if not before:
        data_dir.mkdir(parents=True, exist_ok=True)
    log_path = (data_dir.parent if before else data_dir) / f"serve-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*before, *command, "--workers", str(workers)],
            env={
                **os.environ,
                "PNEUMOSCREEN_GRAPHS_DIR": str(GRAPHS),
                "PNEUMOSCREEN_LEASE_SECONDS": "2.5",
                "PNEUMOSCREEN_SWEEP_SECONDS": "0.5",
                "PNEUMOSCREEN_GATE_IGNORES": "all",  # most images here are drawn
                **(environment or {}),
            },
            stdout=log,
            stderr=log,
            umask=umask,
        )
    url = f"http://{bracketed(host)}:{port}"
    return Stack(data_dir, url, process, log_path, Database(f"sqlite:///{data_dir / 'pneumoscreen.db'}"))


def wait_until_ready(stack: Stack, line: str = "PneumoScreen is ready at") -> None:
    """Wait for what `serve` prints when it is ready."""
    wait_until(lambda: line in stack.log.read_text() or stack.process.poll() is not None, START_SECONDS, line)
    assert stack.process.poll() is None, stack.log.read_text()


def stop(stack: Stack) -> int:
    """Stop a stack as Ctrl-C does, and return its exit status."""
    stack.database.close()
    stack.process.send_signal(signal.SIGTERM)
    return stack.process.wait(60)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the tests of a module."""
    running = start(tmp_path_factory.mktemp("stack"))
    try:
        wait_until_ready(running)
        yield running
    finally:
        stop(running)
