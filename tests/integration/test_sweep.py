"""The sweep and the ticket_sender against a real Redis."""

import math
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select, text, update

from shared.accounts import users
from shared.db import Database, now
from shared.errors import BrokerAway
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import ModelSpec
from shared.queue import asked_scores, jobs, leases, score_leases, stray_files
from shared.queue.heartbeats import Heartbeats
from shared.queue.removed import Removed
from shared.queue.tickets import (
    IMAGES_PER_TICKET,
    MOST_TICKETS,
    CeleryTicketSender,
    make_ticket_sender,
    queue_name,
    try_send_tickets,
)
from shared.refusals import Rejection
from shared.settings import Settings
from shared.states import State
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import Image, Job, Priority, Role, Screening, Source, Tombstone, User
from tests.conftest import make_store
from worker.sweep import ABANDONED_SECONDS, Sweep, run


@pytest.fixture
def live(settings: Settings, redis_url: str) -> Settings:
    """Settings with a Redis that answers, emptied."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    return settings.model_copy(update={"redis_url": SecretStr(redis_url), "model": "test-model"})


@pytest.fixture
def ticket_sender(live: Settings) -> CeleryTicketSender:
    return make_ticket_sender(live)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """One database is enough here; the leases are tested on both."""
    return sqlite_database


def images(count: int, start: int = 0) -> list[Received]:
    numbers = range(start, start + count)
    return [Received(f"{n}.png", image=AcceptedImage(f"{n:064x}", 1, 64, 64, "image/png")) for n in numbers]


def claim(database: Database, spec: ModelSpec) -> leases.Claim:
    with database.write() as session:
        model_id = leases.register_model(session, spec)
        return leases.claim(session, model_id=model_id, model_name=spec.name, limit=1, worker="w", lease_seconds=60.0)


def submit(database: Database, user: User, count: int, spec: ModelSpec) -> uuid.UUID:
    with database.write() as session:
        job = jobs.open_job(
            session, user_id=user.id, name="j", source=Source.API, model_name=spec.name, priority=Priority.BULK
        )
        jobs.add_images(session, job.id, images(count), spec)
        return job.id


@pytest.mark.parametrize(
    ("images", "tickets"), [(1, 1), (IMAGES_PER_TICKET, 1), (IMAGES_PER_TICKET + 1, 2), (1_000_000, MOST_TICKETS)]
)
def test_one_ticket_for_so_many_images_up_to_a_limit(
    ticket_sender: CeleryTicketSender, images: int, tickets: int
) -> None:
    ticket_sender.send("m", images)
    assert (ticket_sender.tickets("m"), ticket_sender.tickets("n")) == (tickets, 0)


def test_a_ticket_carries_nothing_but_the_task(live: Settings, ticket_sender: CeleryTicketSender) -> None:
    ticket_sender.send("m", 1)
    with Redis.from_url(live.redis_url.get_secret_value()) as redis:
        (message,) = redis.lrange(queue_name("m"), 0, -1)
    assert b'"argsrepr": "()"' in message
    assert b'"kwargsrepr": "{}"' in message


def test_a_redis_that_is_away_is_said_and_costs_nothing(settings: Settings) -> None:
    away = make_ticket_sender(settings)
    with pytest.raises(BrokerAway, match="kept"):
        away.send("m", 1)
    with pytest.raises(BrokerAway):
        away.tickets("m")
    assert try_send_tickets(away, "m", 1) is False
    assert try_send_tickets(away, "m", 0) is True


def test_the_sweep_sends_tickets_for_images_that_wait_without_a_ticket(
    live: Settings, ticket_sender: CeleryTicketSender, database: Database, technician: User, spec: ModelSpec
) -> None:
    submit(database, technician, 2 * IMAGES_PER_TICKET + 1, spec)
    assert ticket_sender.tickets(spec.name) == 0
    assert Sweep(database, ticket_sender, live).once().waiting == {spec.name: 2 * IMAGES_PER_TICKET + 1}
    assert ticket_sender.tickets(spec.name) == 3
    Sweep(database, ticket_sender, live).once()
    assert ticket_sender.tickets(spec.name) == 3, "tickets that nobody took yet are enough"


def test_the_sweep_sends_tickets_for_a_score_that_a_reader_asked_for(
    live: Settings, ticket_sender: CeleryTicketSender, database: Database, technician: User, spec: ModelSpec
) -> None:
    job_id = submit(database, technician, 1, spec)
    stopped = {"state": State.REJECTED, "error_code": Rejection.ROTATED.value}
    with database.write() as session:
        session.execute(update(Screening).where(Screening.job_id == job_id).values(stopped))
        asked_scores.ask(session, session.scalars(select(Screening)).one(), technician.id)
    assert Sweep(database, ticket_sender, live).once().waiting == {}
    assert ticket_sender.tickets(spec.name) == 1


def test_the_sweep_is_quiet_where_nothing_waits(
    live: Settings, ticket_sender: CeleryTicketSender, database: Database
) -> None:
    assert Sweep(database, ticket_sender, live).once() == leases.Swept(0, 0, {})
    assert ticket_sender.tickets("test-model") == 0


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
    stops: SimpleQueue[int] = SimpleQueue()
    thread = threading.Thread(target=run, args=(quick, stops))
    thread.start()
    try:
        for _ in range(200):
            with database.read() as session:
                if session.scalar(select(Screening.state)) is State.QUEUED:
                    break
            time.sleep(0.02)
        else:
            pytest.fail("the lease was never freed")
        assert thread.is_alive()
    finally:
        stops.put(signal.SIGTERM)
        thread.join()


def test_the_sweep_sends_tickets_for_every_model_that_has_waiting_images(
    live: Settings, ticket_sender: CeleryTicketSender, database: Database, technician: User, spec: ModelSpec
) -> None:
    other = spec.model_copy(update={"name": "another"})
    submit(database, technician, 1, spec)
    submit(database, technician, IMAGES_PER_TICKET + 1, other)
    assert Sweep(database, ticket_sender, live).once().waiting == {spec.name: 1, "another": IMAGES_PER_TICKET + 1}
    assert [ticket_sender.tickets(name) for name in (spec.name, "another")] == [1, 2]


@contextmanager
def sweeping(settings: Settings, database: Database, redis_url: str, **changes: object) -> Iterator[threading.Thread]:
    """The sweep as it runs, on a database that the test has in its hands."""
    quick = {"sweep_seconds": 0.05, "lease_seconds": 0.1, "redis_url": SecretStr(redis_url)}
    url = SecretStr(database.engine.url.render_as_string(hide_password=False))
    stops: SimpleQueue[int] = SimpleQueue()
    held = settings.model_copy(update={**quick, "database_url": url, **changes})
    thread = threading.Thread(target=run, args=(held, stops))
    thread.start()
    try:
        yield thread
    finally:
        stops.put(signal.SIGTERM)
        thread.join()


def wait_for(condition: Callable[[], object], what: str) -> None:
    for _ in range(400):
        if condition():
            return
        threading.Event().wait(0.02)
    pytest.fail(f"waited eight seconds for {what}")


def states(database: Database) -> set[State]:
    with database.read() as session:
        return set(session.scalars(select(Screening.state)))


cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = :name")


@pytest.fixture
def postgres(migrated_postgres_url: str) -> Iterator[Database]:
    database = Database(migrated_postgres_url)
    yield database
    database.close()


def test_the_sweep_outlives_a_primary_that_was_demoted(
    live: Settings, postgres: Database, redis_url: str, spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL then refuses every write (SQLSTATE 25006), as a standby does."""
    with postgres.write() as session:
        user = users.add_user(session, "tina", Role.TECHNICIAN)
    submit(postgres, user, 1, spec)
    claim(postgres, spec)
    name = postgres.engine.url.database
    read_only = text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with postgres.write() as session:
        session.execute(read_only)
    with sweeping(live, postgres, redis_url) as thread:
        wait_for(lambda: "read-only transaction" in caplog.text, "a write to be refused")
        assert thread.is_alive()
        with postgres.write() as session:
            session.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
            session.execute(cut, {"name": name})
        wait_for(lambda: states(postgres) == {State.QUEUED}, "the lease to be freed")


def test_the_sweep_outlives_a_store_that_is_away(
    live: Settings, database: Database, lease: leases.Claim, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert lease.screenings
    live.store.parent.mkdir(parents=True)
    live.store.write_bytes(b"a file in the place of the store")
    with database.write() as session:
        session.add(Tombstone(sha256="ab" * 32, due_at=now() - timedelta(days=1)))
    with sweeping(live, database, redis_url) as thread:
        wait_for(lambda: "cannot be used" in caplog.text, "the store to be missed")
        wait_for(lambda: states(database) == {State.QUEUED}, "the lease to be freed none the less")
        assert thread.is_alive()


def test_the_sweep_removes_what_broken_uploads_left_and_nothing_else(
    live: Settings, database: Database, technician: User, redis_url: str, spec: ModelSpec
) -> None:
    store = make_store(live.store)
    stray, named, young = [keep(store, name.encode()) for name in ("stray", "named", "young")]
    store.put_derived(stray, THUMBNAIL, b"picture")
    left = store.root / "incoming" / "left"
    left.write_bytes(b"half an image")
    with database.write() as session:
        job = jobs.open_job(
            session, user_id=technician.id, name="j", source=Source.API, model_name=spec.name, priority=Priority.BULK
        )
        jobs.add_images(session, job.id, [Received("n", image=AcceptedImage(named, 1, 64, 64, "image/png"))], spec)
    for path in (left, *[store.root / store.place_of("images", key) for key in (stray, named)]):
        os.utime(path, (0, 0))
    with sweeping(live, database, redis_url):
        wait_for(lambda: not store.has(stray) and not left.exists(), "the strays to be removed")
        wait_for(lambda: not store.has(stray, THUMBNAIL), "the stray's picture to be removed")
    assert store.has(named)
    assert store.has(young)


def keep(store: FolderStore, data: bytes) -> str:
    with store.receive() as incoming:
        incoming.write(data)
        return store.keep(incoming)


def test_strays_are_looked_for_in_slices(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_files, "PART", 4)
    store = make_store(settings.store)
    keys = [keep(store, str(number).encode()) for number in range(10)]
    for key in keys:
        os.utime(store.root / store.place_of("images", key), (0, 0))
    with database.write() as session:
        session.add(Image(sha256="ab" * 32, size_bytes=1, width=64, height=64, media_type="image/png"))
    strays = stray_files.StrayCollection(database, store)
    assert [strays.remove_some(at=0.0).stray_files for _ in range(4)] == [4, 4, 2, 0]
    again = keep(store, b"again")
    os.utime(store.root / store.place_of("images", again), (0, 0))
    assert strays.remove_some(at=1.0).stray_files == 0, "it rests"
    assert strays.remove_some(at=2 * stray_files.COLLECT_EVERY_SECONDS).stray_files == 1


def test_a_file_that_cannot_be_removed_holds_up_no_other(settings: Settings, database: Database) -> None:
    """A folder in its place: EISDIR, for a superuser, too."""
    store = make_store(settings.store)
    keys = sorted(keep(store, str(number).encode()) for number in range(4))
    for key in keys:
        os.utime(store.root / store.place_of("images", key), (0, 0))
    for key in (keys[0], keys[2]):
        place = store.root / store.place_of("images", key)
        place.unlink()
        (place / "inside").mkdir(parents=True)
    due = now() - timedelta(days=1)
    with database.write() as session:
        session.add_all(Tombstone(sha256=key, due_at=due) for key in keys[:2])
    stray_files.remove_tombstoned_files(database, store)
    assert stray_files.remove_tombstoned_files(database, store) == 0, "the one that cannot go is tried another day"
    assert stray_files.StrayCollection(database, store).remove_some(at=0.0).stray_files == 1
    assert [store.has(key) for key in keys] == [True, False, True, False], "only the two folders stay"
    with database.read() as session:
        assert list(session.scalars(select(Tombstone.sha256))) == [keys[0]]


def test_a_new_database_beside_a_full_store_empties_nothing(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stray_files, "PART", 4)
    store = make_store(settings.store)
    keys = [keep(store, str(number).encode()) for number in range(5)]
    for key in keys:
        os.utime(store.root / store.place_of("images", key), (0, 0))
    strays = stray_files.StrayCollection(database, store)
    assert strays.remove_some(at=0.0) == Removed()
    assert all(store.has(key) for key in keys)
    assert "nothing of it is removed" in caplog.text


@pytest.fixture
def watched(live: Settings, ticket_sender: CeleryTicketSender, database: Database) -> Sweep:
    return Sweep(database, ticket_sender, live)


@pytest.fixture
def lease(database: Database, technician: User, spec: ModelSpec) -> leases.Claim:
    """An image that a worker holds."""
    submit(database, technician, 1, spec)
    return claim(database, spec)


@pytest.fixture(params=[timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def wall_clock_jumps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, lease: leases.Claim) -> None:
    monkeypatch.setattr(leases, "now", lambda: now() + request.param)


@pytest.mark.usefixtures("wall_clock_jumps")
def test_a_wall_clock_that_jumps_takes_no_image_from_a_worker_that_lives(
    live: Settings, database: Database, watched: Sweep, lease: leases.Claim
) -> None:
    for look in range(30):
        with database.write() as session:
            assert leases.extend(session, lease.token, live.lease_seconds) == 1
        assert watched.free_leases(at=look * live.sweep_seconds) == leases.Swept(0, 0, {})


@pytest.mark.usefixtures("wall_clock_jumps")
def test_a_lost_worker_is_noticed_in_time_whatever_the_wall_clock_says(live: Settings, watched: Sweep) -> None:
    looks = math.ceil(live.lease_seconds / live.sweep_seconds)
    freed = [watched.free_leases(at=look * live.sweep_seconds).requeued for look in range(looks + 1)]
    assert freed == [0] * looks + [1]


@pytest.fixture
def held_score(database: Database, technician: User, spec: ModelSpec) -> asked_scores.AskedImage:
    """A score that was asked for and that a worker holds."""
    submit(database, technician, 1, spec)
    with database.write() as session:
        screening = session.scalars(select(Screening)).one()
        screening.state, screening.error_code = State.REJECTED, "rotated"
        asked_scores.ask(session, screening, technician.id)
        held = asked_scores.claim(session, spec.name, lease_seconds=60.0, max_attempts=3)
    assert held is not None
    return held


@pytest.fixture(params=[timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def wall_clock_of_scores_jumps(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, held_score: asked_scores.AskedImage
) -> None:
    assert held_score.attempt == 1
    monkeypatch.setattr(score_leases, "now", lambda: now() + request.param)


@pytest.mark.usefixtures("wall_clock_of_scores_jumps")
def test_a_score_is_not_taken_from_a_worker_that_lives(
    live: Settings, database: Database, watched: Sweep, held_score: asked_scores.AskedImage
) -> None:
    for look in range(30):
        with database.write() as session:
            assert score_leases.extend(session, held_score, live.lease_seconds)
        assert watched.free_scores(at=look * live.sweep_seconds) == 0


@pytest.mark.usefixtures("wall_clock_of_scores_jumps")
def test_a_score_whose_worker_is_lost_is_freed_in_time(live: Settings, watched: Sweep) -> None:
    looks = math.ceil(live.lease_seconds / live.sweep_seconds)
    freed = [watched.free_scores(at=look * live.sweep_seconds) for look in range(looks + 1)]
    assert freed == [0] * looks + [1]


def test_an_upload_whose_sender_is_gone_is_closed_in_the_end(
    live: Settings, database: Database, technician: User, spec: ModelSpec
) -> None:
    quarter = ABANDONED_SECONDS / 4
    abandoned, alive = submit(database, technician, 1, spec), submit(database, technician, 0, spec)
    watched = Sweep(database, make_ticket_sender(live), live.model_copy(update={"sweep_seconds": quarter}))
    for number in range(5):
        watched.close_uploads(at=number * quarter)
        with database.write() as session:
            jobs.add_images(session, alive, images(1, start=100 + number), spec)
    with database.read() as session:
        assert session.get(Job, abandoned).closed_at is not None
        assert session.get(Job, alive).closed_at is None


def test_workers_are_seen_while_they_say_so(live: Settings) -> None:
    heartbeats = Heartbeats(live)
    assert heartbeats.workers() == []
    heartbeats.announce("host:1", "compact-cnn@0123", 90.04)
    assert heartbeats.workers() == ["host:1"]
    (heartbeat,) = heartbeats.latest()
    assert (heartbeat.worker, heartbeat.model, heartbeat.model_name) == ("host:1", "compact-cnn@0123", "compact-cnn")
    assert heartbeat.ready_seconds == 90.0
    assert 0 <= heartbeat.seconds_ago < 5
    heartbeats.leave("host:1")
    assert (heartbeats.workers(), heartbeats.latest()) == ([], [])
    heartbeats.close()
