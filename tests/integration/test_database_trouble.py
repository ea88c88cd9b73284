"""A database that hangs, breaks off, is full or collides: every request gets its answer or is told to come back."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest
from gunicorn.config import Config
from pydantic import SecretStr
from sqlalchemy import event, text, update
from werkzeug.test import TestResponse

import web.server
from migrations import schema
from shared.database_limits import DatabaseLimits, limits_of
from shared.db import Database, now, repeat_conflicts
from shared.errors import DatabaseBusy
from shared.settings import Settings, load_settings
from shared.states import State
from shared.tables import Job, Role, Screening, User
from tests.conftest import ROOT, draw, encode
from tests.database_proxy import PGBOUNCER, Line, pgbouncer
from tests.integration.conftest import wait_until
from tests.web_site import PASSWORD, Site, post_images, token_of
from worker.sweep import run as run_sweep

IMAGES = [(f"image-{n}.jpeg", encode(draw(700 + n))) for n in range(4)]
QUICK = DatabaseLimits(connections=6, connect=2, pool=0.5, statement=1, lock=0.3, idle_in_transaction=5)


@pytest.fixture
def line(migrated_postgres_url: str) -> Iterator[Line]:
    line = Line(migrated_postgres_url)
    yield line
    line.close()


@pytest.fixture
def site(settings: Settings, line: Line) -> Iterator[Site]:
    database = Database(line.address, limits=QUICK)
    yield Site(settings, database)
    database.close()


Request = Callable[[], TestResponse]


def kinds(site: Site) -> dict[str, Request]:
    """A request of each kind, ready to be sent."""
    admin = site.add_user("root", Role.ADMIN, PASSWORD)
    program, browser, stranger = site.token_client(admin), site.browser(admin), site.browser()
    job = program.post("/api/v1/jobs", json={}).json
    assert job is not None
    token, sign_in = token_of(browser.get("/users")), token_of(stranger.get("/sign-in"))
    press_users = {"csrf_token": token, "name": "tom", "role": "reader"}
    entry = {"csrf_token": sign_in, "name": "root", "password": PASSWORD}
    key = {"Idempotency-Key": "k"}
    return {
        "a page": lambda: browser.get("/history"),
        "a list": lambda: program.get("/api/v1/jobs"),
        "signing in": lambda: stranger.post("/sign-in", data=entry),
        "adding an account": lambda: browser.post("/users", data=press_users),
        "opening a job": lambda: program.post("/api/v1/jobs", json={"name": "x"}, headers={"Idempotency-Key": "o"}),
        "a whole job": lambda: post_images(program, *IMAGES[:2], headers=key),
        "images of an open job": lambda: post_images(program, *IMAGES[2:], to=job["images_url"], headers=key),
        "closing a job": lambda: program.post(f"{job['status_url']}/close"),
        "an export": lambda: program.get("/api/v1/predictions?format=csv"),
        "readiness": lambda: program.get("/readyz"),
    }


def is_told_to_come_back(answer: TestResponse) -> bool:
    return answer.status_code == 503 and (answer.request.path == "/readyz" or "Retry-After" in answer.headers)


def test_a_database_that_hangs_holds_nobody_and_all_goes_on_once_it_is_back(site: Site, line: Line) -> None:
    requests = kinds(site)
    line.silent.set()
    began = time.monotonic()
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = dict(zip(requests, threads.map(lambda send: send(), requests.values()), strict=True))
    assert time.monotonic() - began < 15
    assert {name: answer.status_code for name, answer in answers.items() if not is_told_to_come_back(answer)} == {}
    line.silent.clear()
    codes = {name: send().status_code for name, send in requests.items() if name != "readiness"}
    assert {name: code for name, code in codes.items() if code >= 400} == {}
    assert (site.count(Job), site.count(Screening)) == (3, 4)


FIRST_KINDS = ("a page", "a whole job", "images of an open job")
KINDS = (
    *FIRST_KINDS,
    *(pytest.param(kind, marks=pytest.mark.long) for kind in ("signing in", "adding an account", "closing a job")),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_breaks_at_any_message_costs_a_retry_and_no_more(site: Site, line: Line, kind: str) -> None:
    send = kinds(site)[kind]
    for passed in range(80):
        line.messages_left = passed
        answer = send()
        is_through = line.messages_left >= 0 and answer.status_code != 503
        line.messages_left = None
        # What was committed and not confirmed is there already, and its key or name says so.
        assert answer.status_code < 400 or answer.status_code == 422 or is_told_to_come_back(answer), answer.text
        if is_through:
            break
    else:
        pytest.fail("the request never went through")
    assert passed > 2, "the line was cut within the request"
    assert site.count(Job) <= 2
    assert site.count(Screening) == {"a whole job": 2, "images of an open job": 2}.get(kind, 0)


@pytest.mark.long
def test_the_sweep_waits_for_a_database_that_hangs_and_goes_on(
    settings: Settings, line: Line, migrated_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database, stops = Database(migrated_postgres_url), SimpleQueue[int]()
    site = Site(settings, database)
    post_images(site.token_client(site.add_user("tina")), IMAGES[0])
    times = {"lease_seconds": 0.2, "sweep_seconds": 0.1, "database_connect_seconds": 2, "database_statement_seconds": 1}
    asked = settings.model_copy(update={**times, "database_url": SecretStr(line.address)})
    line.silent.set()
    sweep = threading.Thread(target=run_sweep, args=(asked, stops))
    sweep.start()
    try:
        with database.write() as session:
            lost = {"state": State.RUNNING, "lease_token": uuid.uuid4(), "lease_until": now(), "started_at": now()}
            session.execute(update(Screening).values(**lost))
        wait_until(lambda: "did not do what a sweep asked" in caplog.text, 30, "the sweep to give an attempt up")
        assert [image.state for image in site.screenings()] == [State.RUNNING]
        assert sweep.is_alive()
        line.silent.clear()
        wait_until(lambda: site.screenings()[0].state is State.QUEUED, 10, "the image to be freed")
    finally:
        stops.put(signal.SIGTERM)
        line.silent.clear()
        sweep.join(20)
    database.close()


def test_a_statement_a_lock_and_an_idle_transaction_have_limits(migrated_postgres_url: str) -> None:
    database = Database(migrated_postgres_url, limits=QUICK)
    with database.read() as session:
        shown = session.execute(
            text(
                "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
                "current_setting('idle_in_transaction_session_timeout')"
            )
        )
        assert tuple(shown.one()) == ("1s", "300ms", "5s")
    database.close()
    patient = Database(migrated_postgres_url)
    with patient.read() as session:
        assert session.scalar(text("SELECT current_setting('statement_timeout')")) == "0"
    patient.close()


def test_a_locked_table_is_waited_for_only_so_long(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))
    with site.database.write() as session:
        session.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        answer = post_images(client, IMAGES[0])
    assert is_told_to_come_back(answer)
    assert post_images(client, IMAGES[0]).status_code == 202


def test_a_primary_that_was_demoted_is_told_as_away(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))

    @event.listens_for(site.database.engine, "begin")
    def demote(connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    assert client.get("/api/v1/jobs").status_code == 200
    assert is_told_to_come_back(post_images(client, IMAGES[0]))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_where_every_connection_is_in_use_a_request_is_told_to_come_back(
    settings: Settings, kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("migrated_postgres_url") if kind == "postgresql" else settings.database
    settings.data_dir.mkdir(exist_ok=True)
    database = Database(url, limits=DatabaseLimits(connections=2, pool=0.2))
    schema.upgrade(database)
    site = Site(settings, database)
    client = site.token_client(site.add_user("tina"))
    with database.read() as first, database.read() as second:
        for session in (first, second):
            session.execute(text("SELECT 1"))
        assert is_told_to_come_back(client.get("/api/v1/jobs"))
    assert client.get("/api/v1/jobs").status_code == 200
    database.close()


def test_pages_have_a_connection_for_each_thread(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    class Worker:
        cfg = Config()

    Worker.cfg.set("threads", 21)
    monkeypatch.setenv("PNEUMOSCREEN_DATABASE_CONNECTIONS", "0")
    monkeypatch.delenv("PNEUMOSCREEN_DATABASE_CONNECTIONS")
    web.server.post_fork(None, Worker())
    gc.enable()
    assert limits_of(load_settings()).connections == 21 + web.server.WATCHERS
    assert limits_of(settings, threads=3).connections == 3
    assert limits_of(settings.model_copy(update={"database_connections": 2}), threads=3).connections == 2


# ---------------------------------------------------------------- collisions


def test_a_name_that_another_takes_at_the_same_moment_is_refused_in_words(
    settings: Settings, migrated_postgres_url: str
) -> None:
    database = Database(migrated_postgres_url)
    site = Site(settings, database)
    browser = site.browser(site.add_user("root", Role.ADMIN))
    page, taken = token_of(browser.get("/users")), threading.Event()

    @event.listens_for(database.engine, "before_cursor_execute")
    def overtake(_connection, _cursor, statement: str, *_more) -> None:
        if statement.startswith("INSERT INTO users") and not taken.is_set():
            taken.set()
            site.add_user("tom")

    answer = browser.post("/users", data={"csrf_token": page, "name": "tom", "role": "reader"})
    assert taken.is_set()
    assert (answer.status_code, "There is an account named" in answer.text) == (422, True)
    assert site.count(User) == 2
    database.close()


def test_two_transactions_that_wait_for_each_other_both_end(migrated_postgres_url: str) -> None:
    database = Database(migrated_postgres_url)
    both, tries = threading.Barrier(2), []
    with database.write() as session:
        session.execute(text("CREATE TABLE pair (id int PRIMARY KEY, n int)"))
        session.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)"))

    def add(first: int, second: int) -> None:
        def work(session) -> None:
            tries.append(first)
            session.execute(text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": first})
            if len(tries) <= 2:
                both.wait(10)
            session.execute(text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": second})

        database.transact(work)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(add, (1, 2), (2, 1)))
    with database.read() as session:
        assert session.execute(text("SELECT n FROM pair")).scalars().all() == [2, 2]
    assert len(tries) == 3, "one lost, and did it once more"
    database.close()


def test_a_collision_that_does_not_end_is_told(migrated_postgres_url: str) -> None:
    database = Database(migrated_postgres_url)
    tries = []

    def collide() -> None:
        tries.append(1)
        with database.write() as session:
            session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    with pytest.raises(DatabaseBusy, match="Try again"):
        repeat_conflicts(collide)
    assert len(tries) == 6
    database.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_started_at_the_same_time_wait_for_each_other(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("empty_postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path / 'new.db'}"
    command = [sys.executable, "-m", "cli.main", "migrate"]
    environment = {**os.environ, "PNEUMOSCREEN_DATABASE_URL": url}
    programs = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(3)]
    assert [program.wait(90) for program in programs] == [0, 0, 0]
    database = Database(url)
    assert schema.current(database) == schema.newest()
    database.close()


# ---------------------------------------------------------------- PgBouncer in transaction mode


needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


def send_many(site: Site, requests: int, threads: int) -> list[TestResponse]:
    user = site.add_user("tina")
    clients = [site.token_client(user) for _ in range(threads)]

    def send(number: int) -> TestResponse:
        return post_images(clients[number % threads], IMAGES[number % 4], headers={"Idempotency-Key": str(number)})

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, range(requests)))


@needs_pgbouncer
def test_statements_are_prepared_where_nobody_stands_between(postgres_folder: Path, migrated_postgres_url: str) -> None:
    def threshold(url: str, **limits: bool) -> int | None:
        database = Database(url, limits=DatabaseLimits(**limits))
        with database.read() as session:
            found = session.connection().connection.driver_connection.prepare_threshold
        database.close()
        return found

    assert threshold(migrated_postgres_url) is not None
    assert threshold(migrated_postgres_url, prepares=False) is None
    with pgbouncer(postgres_folder, migrated_postgres_url) as url:
        assert threshold(url) is None


@needs_pgbouncer
def test_uploads_go_through_pgbouncer_in_transaction_mode(
    settings: Settings, postgres_folder, migrated_postgres_url: str
) -> None:
    with pgbouncer(postgres_folder, migrated_postgres_url) as url:
        asked = settings.model_copy(update={"database_url": SecretStr(url)})
        database = Database(asked.database, limits=limits_of(asked, threads=12))
        site = Site(asked, database)
        answers = send_many(site, requests=120, threads=12)
        assert {answer.status_code for answer in answers} == {202}
        assert site.count(Screening) == 120
        database.close()


@needs_pgbouncer
@pytest.mark.parametrize("limit", [{"max_client_conn": 3}, {"default_pool_size": 1, "query_wait_timeout": 1}])
def test_a_pgbouncer_that_is_full_is_told_as_such(
    settings: Settings, postgres_folder, migrated_postgres_url: str, limit: dict[str, int]
) -> None:
    with pgbouncer(postgres_folder, migrated_postgres_url, **limit) as url:
        database = Database(url, limits=QUICK)
        site = Site(settings, database)
        client = site.token_client(site.add_user("tina"))
        sessions = [database.read() for _ in range(3 if "max_client_conn" in limit else 1)]
        for held in sessions:
            held.__enter__().execute(text("SELECT 1"))
        assert is_told_to_come_back(post_images(client, IMAGES[0]))
        for held in sessions:
            held.__exit__(None, None, None)
        assert post_images(client, IMAGES[0]).status_code == 202
        database.close()
