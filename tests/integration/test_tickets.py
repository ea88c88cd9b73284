"""What workers make of messages on Redis that nobody of ours sent: a real Celery worker, prefork, on a real Redis."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from redis import Redis

from shared.queue.heartbeats import DROPPED_KEY
from shared.queue.received_tickets import MOST_BYTES, fresh_ticket, is_ticket, read_message
from shared.queue.tickets import SCREEN_BATCH, make_ticket_sender, queue_name
from shared.settings import PREFIX, Settings
from tests.conftest import ROOT
from tests.integration.conftest import wait_until
from tests.integration.ticket_worker import DONE_KEY, SECONDS_VARIABLE

MODEL = "some-model"
QUEUE = queue_name(MODEL)
SECONDS = 100
pytestmark = pytest.mark.timeout(240)


def ticket(**changes: Any) -> dict[str, Any]:
    return {**fresh_ticket(QUEUE), **changes}


def with_headers(**headers: Any) -> dict[str, Any]:
    return ticket(headers={**fresh_ticket(QUEUE)["headers"], **headers})


def body(*parts: Any) -> str:
    return base64.b64encode(json.dumps(parts).encode()).decode()


def to_other(path: str) -> dict[str, Any]:
    """A signature of another task, as chains and callbacks hold them."""
    return {"task": "somebody.elses", "args": [path], "kwargs": {}, "options": {"queue": QUEUE}, "subtask_type": None}


NO_TICKETS = [
    b"garbage",
    b"",
    b"\xff\xfe",
    b"[1,2]",
    b"null",
    b"true",
    b"17",
    b'"text"',
    b"{}",
    b'{"headers": null}',
    b'{"headers": {}, "properties": {}}',
    b"[" * 10_000,
    b'{"headers": {"task": "' + b"x" * MOST_BYTES + b'"}}',
    json.dumps(with_headers(task="somebody.elses")).encode(),
    json.dumps(with_headers(task=[1])).encode(),
    json.dumps(ticket(headers=[1])).encode(),
    json.dumps(ticket(**{"content-type": "application/x-python-serialize"})).encode(),
    json.dumps(ticket(body="x" * 2_000_000)).encode(),
]
TICKETS = [
    with_headers(timelimit=["soon", None]),
    with_headers(timelimit=[0.0001, 0.0001]),
    with_headers(timelimit={"a": 1}),
    with_headers(eta="9999-12-31T23:59:59"),
    with_headers(eta={"no": "date"}),
    with_headers(expires="1970-01-01T00:00:00"),
    with_headers(expires=[]),
    with_headers(retries="many", id=None, root_id=17, shadow={"a": 1}, lang=[], group=7, stamps=3),
    with_headers(compression="zlib"),
    ticket(body="no base64!"),
    ticket(body=body([1, 2], {"a": 3}, None)),
    ticket(properties={}),
    ticket(properties=None),
    {"headers": {"task": SCREEN_BATCH}, "content-type": "application/json"},
]


@pytest.mark.parametrize("data", NO_TICKETS, ids=[str(number) for number in range(len(NO_TICKETS))])
def test_what_is_no_ticket_is_known_as_such(data: bytes) -> None:
    assert not is_ticket(read_message(data))


@pytest.fixture(scope="module")
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture(scope="module")
def worker(redis: Redis, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psutil.Process]:
    """Celery's prefork worker with one process, as `pneumoscreen worker` starts it."""
    # What a worker of an earlier run left, overdue and unreadable, is met at the start.
    redis.hset("unacked", mapping={"a": "garbage", "b": "[1]", "c": json.dumps([None, "", QUEUE])})
    redis.zadd("unacked_index", {"a": 1.0, "b": 2.0, "c": 3.0})
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.ticket_worker", "worker", "--concurrency", "1"]
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"],
            cwd=ROOT,
            env={
                **os.environ,
                f"{PREFIX}REDIS_URL": redis_url,
                f"{PREFIX}MODEL": MODEL,
                SECONDS_VARIABLE: "0",
                "PYTHONPATH": str(ROOT),
            },
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: " ready." in log.read_text(), SECONDS, "the worker to be ready")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def processes(worker: psutil.Process) -> Iterator[None]:
    """The worker's processes outlive the test: none ends, none comes anew."""
    before = {worker.pid, *[child.pid for child in worker.children()]}
    yield
    assert {worker.pid, *[child.pid for child in worker.children()]} == before


@pytest.mark.usefixtures("processes")
def test_messages_that_are_no_tickets_are_dropped_and_counted(redis: Redis) -> None:
    done, dropped = int(redis.get(DONE_KEY) or 0), int(redis.get(DROPPED_KEY) or 0)
    for data in NO_TICKETS:
        redis.lpush(QUEUE, data)
    redis.lpush(QUEUE, json.dumps(ticket()))
    wait_until(lambda: int(redis.get(DONE_KEY) or 0) == done + 1, 30, "the ticket behind them to be done")
    assert int(redis.get(DROPPED_KEY) or 0) == dropped + len(NO_TICKETS)


@pytest.mark.usefixtures("processes")
def test_a_ticket_counts_whatever_else_it_says(redis: Redis, tmp_path: Path) -> None:
    path = str(tmp_path / "called")
    orders = {"callbacks": [to_other(path)], "errbacks": [to_other(path)], "chain": [to_other(path)], "chord": None}
    called = [*TICKETS, ticket(body=body([], {}, orders)), ticket(body=body([path], {"a": 1}, orders))]
    done = int(redis.get(DONE_KEY) or 0)
    for message in called:
        redis.lpush(QUEUE, json.dumps(message))
    wait_until(lambda: int(redis.get(DONE_KEY) or 0) == done + len(called), 30, "all tickets to be done")
    wait_until(lambda: redis.hlen("unacked") == 0, 30, "all tickets to be acknowledged")
    assert not Path(path).exists()


@pytest.mark.usefixtures("processes")
def test_nobody_controls_a_worker_from_afar(redis: Redis, settings: Settings, redis_url: str) -> None:
    from celery import Celery

    with Celery(broker=redis_url.replace("unix://", "redis+socket://")) as stranger:
        assert stranger.control.ping(timeout=0.5) == []
        stranger.control.shutdown()
        stranger.control.pool_restart()
    done = int(redis.get(DONE_KEY) or 0)
    make_ticket_sender(settings.model_copy(update={"redis_url": SecretStr(redis_url)})).send(MODEL, 1)
    wait_until(lambda: int(redis.get(DONE_KEY) or 0) == done + 1, 30, "a ticket to be done")


@pytest.mark.usefixtures("processes")
def test_a_worker_leaves_the_tickets_of_other_models_alone(redis: Redis, settings: Settings, redis_url: str) -> None:
    ticket_sender = make_ticket_sender(settings.model_copy(update={"redis_url": SecretStr(redis_url)}))
    done = int(redis.get(DONE_KEY) or 0)
    ticket_sender.send("another", 1)
    ticket_sender.send(MODEL, 1)
    wait_until(lambda: int(redis.get(DONE_KEY) or 0) == done + 1, 30, "the ticket of its model to be done")
    assert ticket_sender.tickets("another") == 1


def test_what_lies_in_the_place_of_a_queue_is_removed(redis: Redis, settings: Settings, redis_url: str) -> None:
    ticket_sender = make_ticket_sender(settings.model_copy(update={"redis_url": SecretStr(redis_url)}))
    redis.set(queue_name("third"), "no list")
    redis.set("_kombu.binding.celery", "no set")
    assert ticket_sender.tickets("third") == 0
    ticket_sender.send("third", 1)
    assert ticket_sender.tickets("third") == 1
