"""The sweep and the doorbell against a real Redis."""

import threading
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select

from shared import jobs, leases
from shared.db import Database
from shared.errors import BrokerAway
from shared.intake import Film, Received
from shared.modelspec import ModelSpec
from shared.presence import Presence
from shared.queue import MOST_TICKETS, SCREENING_QUEUE, CeleryDoorbell, make_doorbell, ring_or_wait
from shared.settings import Settings
from shared.states import State
from shared.tables import Priority, Screening, Source, User
from worker.sweep import run, sweep

BATCH = 10


@pytest.fixture
def live(settings: Settings, redis_url: str) -> Settings:
    """Settings with a Redis that answers, emptied."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    return settings.model_copy(update={"redis_url": SecretStr(redis_url), "batch_size": BATCH, "model": "test-model"})


@pytest.fixture
def doorbell(live: Settings) -> CeleryDoorbell:
    return make_doorbell(live)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """One database is enough here; the leases are tested on both."""
    return sqlite_database


def submit(database: Database, user: User, count: int, spec: ModelSpec) -> uuid.UUID:
    films = [Received(f"{n}.png", film=Film(f"{n:064x}", 1, 64, 64, "image/png")) for n in range(count)]
    with database.write() as session:
        job = jobs.open_job(
            session, user_id=user.id, name="j", source=Source.API, model_name=spec.name, priority=Priority.BULK
        )
        jobs.add_films(session, job.id, films, spec)
        return job.id


@pytest.mark.parametrize(("films", "tickets"), [(1, 1), (10, 1), (11, 2), (35, 4), (100_000, MOST_TICKETS)])
def test_one_ticket_for_each_micro_batch_up_to_a_limit(doorbell: CeleryDoorbell, films: int, tickets: int) -> None:
    doorbell.ring(films)
    assert doorbell.tickets() == tickets


def test_a_ticket_carries_nothing_but_the_task(live: Settings, doorbell: CeleryDoorbell) -> None:
    doorbell.ring(1)
    with Redis.from_url(live.redis_url.get_secret_value()) as redis:
        (message,) = redis.lrange(SCREENING_QUEUE, 0, -1)
    assert b'"argsrepr": "()"' in message
    assert b'"kwargsrepr": "{}"' in message


def test_a_redis_that_is_away_is_said_and_costs_nothing(settings: Settings) -> None:
    away = make_doorbell(settings)
    with pytest.raises(BrokerAway, match="kept"):
        away.ring(1)
    with pytest.raises(BrokerAway):
        away.tickets()
    assert ring_or_wait(away, 1) is False
    assert ring_or_wait(away, 0) is True


def test_the_sweep_rings_for_films_that_wait_without_a_ticket(
    live: Settings, doorbell: CeleryDoorbell, database: Database, technician: User, spec: ModelSpec
) -> None:
    submit(database, technician, 25, spec)
    assert doorbell.tickets() == 0
    assert sweep(database, doorbell, live).waiting == 25
    assert doorbell.tickets() == 3
    sweep(database, doorbell, live)
    assert doorbell.tickets() == 3, "tickets that nobody took yet are enough"


def test_the_sweep_is_quiet_where_nothing_waits(live: Settings, doorbell: CeleryDoorbell, database: Database) -> None:
    assert sweep(database, doorbell, live) == leases.Swept(0, 0, 0)
    assert doorbell.tickets() == 0


def test_the_sweep_goes_on_when_redis_is_away(
    settings: Settings, database: Database, technician: User, spec: ModelSpec, tmp_path: Path
) -> None:
    submit(database, technician, 1, spec)
    quick = settings.model_copy(
        update={"sweep_seconds": 0.05, "model": spec.name, "database_url": SecretStr(str(database.engine.url))}
    )
    with database.write() as session:
        model_id = leases.register_model(session, spec)
        leases.claim(session, model_id=model_id, model_name=spec.name, limit=1, worker="w", lease_seconds=-1.0)
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(quick, stopped))
    thread.start()
    try:
        for _ in range(200):
            with database.read() as session:
                if session.scalar(select(Screening.state)) is State.QUEUED:
                    break
            stopped.wait(0.02)
        else:
            pytest.fail("the lease was never freed")
        assert thread.is_alive()
    finally:
        stopped.set()
        thread.join()


def test_workers_are_seen_while_they_say_so(live: Settings) -> None:
    presence = Presence(live)
    assert presence.workers() == []
    presence.announce("host:1")
    assert presence.workers() == ["host:1"]
    presence.leave("host:1")
    assert presence.workers() == []
    presence.close()
