"""What a worker does while its Redis is in trouble: it stays, for to load a network takes longer than the trouble."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from cli.serving import broker
from shared.queue.tickets import CeleryTicketSender, make_ticket_sender
from shared.settings import PREFIX, Settings
from tests.conftest import ROOT
from tests.integration.conftest import wait_until
from tests.integration.ticket_worker import DONE_KEY

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
SECONDS = 200
MODEL = "some-model"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)
        client.flushall()


@pytest.fixture
def ticket_sender(settings: Settings, redis_url: str) -> CeleryTicketSender:
    return make_ticket_sender(settings.model_copy(update={"redis_url": SecretStr(redis_url)}))


@pytest.fixture
def worker(redis: Redis, redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen]:
    with ticket_worker(redis_url, tmp_path / "worker.log") as process:
        yield process


@contextmanager
def ticket_worker(redis_url: str, path: Path) -> Iterator[subprocess.Popen]:
    """Celery's prefork worker with one process, as `pneumoscreen worker` starts it."""
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.ticket_worker", "worker", "--concurrency", "1"]
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle"],
            cwd=ROOT,
            env={**os.environ, f"{PREFIX}REDIS_URL": redis_url, f"{PREFIX}MODEL": MODEL},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_a_worker_goes_on_when_redis_was_away_as_its_ticket_ended(tmp_path: Path, settings: Settings) -> None:
    """The acknowledgement is lost, and with it, by default, the worker's room for the next ticket, for ever."""
    folder = Path(tempfile.mkdtemp(prefix="pneumoscreen-test-"))
    place = folder / "redis.sock"
    command = broker.command(broker.find_server(), tmp_path, place)
    live = settings.model_copy(update={"redis_url": SecretStr(f"unix://{place}")})
    with running_redis(command, place) as server, ticket_worker(f"unix://{place}", tmp_path / "worker.log"):
        make_ticket_sender(live).send(MODEL, 1)
        client = Redis.from_url(f"unix://{place}")
        wait_until(lambda: client.hlen("unacked") == 1, SECONDS, "the worker to take a ticket")
        server.kill()
        server.wait(10)
        log = tmp_path / "worker.log"
        wait_until(lambda: "Couldn't ack" in log.read_text(), SECONDS, "the acknowledgement to fail")
        with running_redis(command, place):
            client.flushall()
            make_ticket_sender(live).send(MODEL, 1)
            wait_until(lambda: client.get(DONE_KEY) == b"1", 60, "the next ticket to be done")
        client.close()
    shutil.rmtree(folder)


@contextmanager
def running_redis(command: list[str], place: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        broker.wait_until_ready(place, process)
        yield process
    finally:
        process.kill()
        process.wait(10)


def take_ticket(redis: Redis, ticket_sender: CeleryTicketSender) -> None:
    ticket_sender.send(MODEL, 1)
    wait_until(lambda: redis.hlen("unacked") == 1, SECONDS, "the worker to take a ticket")


def test_a_worker_outlives_a_redis_without_memory(
    redis: Redis, ticket_sender: CeleryTicketSender, worker: subprocess.Popen, tmp_path: Path
) -> None:
    take_ticket(redis, ticket_sender)
    redis.config_set("maxmemory", 1)
    log = tmp_path / "worker.log"
    outcome = re.compile("Unrecoverable error|Trying to re")  # celery.worker and celery.worker.consumer
    wait_until(lambda: outcome.search(log.read_text()), SECONDS, "the refusal of the acknowledgement")
    assert "Unrecoverable" not in log.read_text()
    redis.config_set("maxmemory", 0)
    redis.delete("unacked", "unacked_index")
    take_ticket(redis, ticket_sender)
    wait_until(lambda: redis.hlen("unacked") == 0, SECONDS, "the next ticket to be acknowledged")
    assert worker.poll() is None
