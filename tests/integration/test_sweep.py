"""The sweep and the doorbell against a real Redis."""

import math
import threading
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select

from shared import jobs, leases
from shared.db import Database, now
from shared.errors import BrokerAway
from shared.intake import Film, Received
from shared.modelspec import ModelSpec
from shared.presence import Presence
from shared.queue import FILMS_A_TICKET, MOST_TICKETS, SCREENING_QUEUE, CeleryDoorbell, make_doorbell, ring_or_wait
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Priority, Screening, Source, User
from worker.sweep import FORSAKEN_SECONDS, Sweep, run


@pytest.fixture
def live(settings: Settings, redis_url: str) -> Settings:
    """Settings with a Redis that answers, emptied."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    return settings.model_copy(update={"redis_url": SecretStr(redis_url), "model": "test-model"})


@pytest.fixture
def doorbell(live: Settings) -> CeleryDoorbell:
    return make_doorbell(live)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """One database is enough here; the leases are tested on both."""
    return sqlite_database


def films(count: int, start: int = 0) -> list[Received]:
    numbers = range(start, start + count)
    return [Received(f"{n}.png", film=Film(f"{n:064x}", 1, 64, 64, "image/png")) for n in numbers]


def claim(database: Database, spec: ModelSpec) -> leases.Claim:
    with database.write() as session:
        model_id = leases.register_model(session, spec)
        return leases.claim(session, model_id=model_id, model_name=spec.name, limit=1, worker="w", lease_seconds=60.0)


def submit(database: Database, user: User, count: int, spec: ModelSpec) -> uuid.UUID:
    with database.write() as session:
        job = jobs.open_job(
            session, user_id=user.id, name="j", source=Source.API, model_name=spec.name, priority=Priority.BULK
        )
        jobs.add_films(session, job.id, films(count), spec)
        return job.id


@pytest.mark.parametrize(
    ("films", "tickets"), [(1, 1), (FILMS_A_TICKET, 1), (FILMS_A_TICKET + 1, 2), (1_000_000, MOST_TICKETS)]
)
def test_one_ticket_for_so_many_films_up_to_a_limit(doorbell: CeleryDoorbell, films: int, tickets: int) -> None:
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
    submit(database, technician, 2 * FILMS_A_TICKET + 1, spec)
    assert doorbell.tickets() == 0
    assert Sweep(database, doorbell, live).once().waiting == 2 * FILMS_A_TICKET + 1
    assert doorbell.tickets() == 3
    Sweep(database, doorbell, live).once()
    assert doorbell.tickets() == 3, "tickets that nobody took yet are enough"


def test_the_sweep_is_quiet_where_nothing_waits(live: Settings, doorbell: CeleryDoorbell, database: Database) -> None:
    assert Sweep(database, doorbell, live).once() == leases.Swept(0, 0, 0)
    assert doorbell.tickets() == 0


def test_the_sweep_goes_on_when_redis_is_away(
    settings: Settings, database: Database, technician: User, spec: ModelSpec, tmp_path: Path
) -> None:
    submit(database, technician, 1, spec)
    quick = settings.model_copy(
        update={
            "sweep_seconds": 0.05,
            "lease_seconds": 0.1,
            "model": spec.name,
            "database_url": SecretStr(str(database.engine.url)),
        }
    )
    claim(database, spec)
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


@pytest.fixture
def watched(live: Settings, doorbell: CeleryDoorbell, database: Database) -> Sweep:
    return Sweep(database, doorbell, live)


@pytest.fixture
def lease(database: Database, technician: User, spec: ModelSpec) -> leases.Claim:
    """A film that a worker holds."""
    submit(database, technician, 1, spec)
    return claim(database, spec)


@pytest.fixture(params=[timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def wall_clock_jumps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, lease: leases.Claim) -> None:
    monkeypatch.setattr(leases, "now", lambda: now() + request.param)


@pytest.mark.usefixtures("wall_clock_jumps")
def test_a_wall_clock_that_jumps_takes_no_film_from_a_worker_that_lives(
    live: Settings, database: Database, watched: Sweep, lease: leases.Claim
) -> None:
    for look in range(30):
        with database.write() as session:
            assert leases.extend(session, lease.token, live.lease_seconds) == 1
        assert watched.free_leases(at=look * live.sweep_seconds) == leases.Swept(0, 0, 0)


@pytest.mark.usefixtures("wall_clock_jumps")
def test_a_lost_worker_is_noticed_in_time_whatever_the_wall_clock_says(live: Settings, watched: Sweep) -> None:
    looks = math.ceil(live.lease_seconds / live.sweep_seconds)
    freed = [watched.free_leases(at=look * live.sweep_seconds).requeued for look in range(looks + 1)]
    assert freed == [0] * looks + [1]


def test_an_upload_whose_sender_is_gone_is_closed_in_the_end(
    live: Settings, database: Database, technician: User, spec: ModelSpec
) -> None:
    quarter = FORSAKEN_SECONDS / 4
    forsaken, alive = submit(database, technician, 1, spec), submit(database, technician, 0, spec)
    watched = Sweep(database, make_doorbell(live), live.model_copy(update={"sweep_seconds": quarter}))
    for number in range(5):
        watched.close_uploads(at=number * quarter)
        with database.write() as session:
            jobs.add_films(session, alive, films(1, start=100 + number), spec)
    with database.read() as session:
        assert session.get(Job, forsaken).closed_at is not None
        assert session.get(Job, alive).closed_at is None


def test_workers_are_seen_while_they_say_so(live: Settings) -> None:
    presence = Presence(live)
    assert presence.workers() == []
    presence.announce("host:1", "compact-cnn@0123", 90.04)
    assert presence.workers() == ["host:1"]
    (heard,) = presence.heard()
    assert (heard.worker, heard.model, heard.model_name) == ("host:1", "compact-cnn@0123", "compact-cnn")
    assert heard.ready_seconds == 90.0
    assert 0 <= heard.seconds_ago < 5
    presence.leave("host:1")
    assert (presence.workers(), presence.heard()) == ([], [])
    presence.close()
