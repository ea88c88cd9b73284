"""Each state of the whole against the real thing: workers that stop, a Redis that hangs, a model nobody serves."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest
from pydantic import SecretStr

from cli.serving.processes import web_command
from shared.db import Database
from shared.models.spec import ModelSpec
from shared.queue.heartbeats import Heartbeats
from shared.settings import Settings
from shared.tables import Role, Screening
from tests.conftest import draw, encode
from tests.integration.conftest import Stack, free_port, make_images, start, stop, wait_until, wait_until_ready
from tests.web_site import Site, post_images

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, with one worker process and short limits."""
    limits = {"PNEUMOSCREEN_STALL_SECONDS": "3", "PNEUMOSCREEN_LEASE_SECONDS": "30", "PNEUMOSCREEN_MAX_BACKLOG": "12"}
    running = start(tmp_path_factory.mktemp("status"), workers=1, environment=limits)
    try:
        wait_until_ready(running)
        yield running
    finally:
        stop(running)


def checks(stack: Stack) -> dict[str, str]:
    answer = httpx.get(f"{stack.url}/readyz", timeout=30)
    assert answer.status_code == 200, "X-rays can be kept in all of these"
    found: dict[str, str] = answer.json()["checks"]
    return found


def wait_for(stack: Stack, check: str, condition: str, seconds: float = 60) -> None:
    wait_until(lambda: checks(stack)[check] == condition, seconds, f"{check}: {condition}, not {checks(stack)}")


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_workers_that_have_nothing_to_do_are_idle(stack: Stack) -> None:
    wait_for(stack, "workers", "idle")
    assert set(checks(stack).values()) == {"ok", "idle"}
    assert httpx.get(f"{stack.url}/readyz").json()["status"] == "ok"


def test_a_worker_that_takes_no_images_makes_no_progress(stack: Stack) -> None:
    """The process that hands out tickets hangs; the one with the network goes on saying that it is there."""
    wait_for(stack, "workers", "idle")
    with stopped(stack.child("worker.app")):
        job_id = stack.submit(make_images(3, seed=21))
        wait_for(stack, "screening", "no progress")
        assert checks(stack)["workers"] == "ok"
    wait_for(stack, "workers", "idle")
    assert stack.wait(job_id)["counts"]["DONE"] == 3


def test_a_worker_that_hangs_makes_no_progress_and_then_is_none(stack: Stack) -> None:
    wait_for(stack, "workers", "idle")
    (worker,) = stack.workers()
    with stopped(worker):
        job_id = stack.submit(make_images(3, seed=22))
        wait_for(stack, "screening", "no progress")
        wait_for(stack, "workers", "no worker")
        assert checks(stack)["screening"] == "no worker"
    wait_for(stack, "workers", "idle")
    assert stack.wait(job_id)["counts"]["DONE"] == 3


def test_a_broker_that_hangs_is_away(stack: Stack) -> None:
    with stopped(stack.child("redis-server")):
        wait_for(stack, "broker", "broker away")
        assert checks(stack)["workers"] == "unknown"
    wait_for(stack, "broker", "ok")
    wait_for(stack, "workers", "idle")


def test_a_full_queue_refuses_bulk_and_loses_nothing_of_what_it_took(stack: Stack) -> None:
    wait_for(stack, "workers", "idle")
    images = make_images(18, seed=23)
    batches = [dict(list(images.items())[n : n + 6]) for n in (0, 6, 12)]
    with stopped(stack.child("worker.app")), stack.client as client:
        taken = [stack.submit(batch) for batch in batches[:2]]
        refused = client.post("/api/v1/jobs", files=[("files", image) for image in batches[2].items()])
        assert (refused.status_code, refused.json()["type"]) == (429, "/status#queue-full")
        assert int(refused.headers["Retry-After"]) >= 1
        wait_for(stack, "queue", "queue full")
        urgent = stack.submit(make_images(1, seed=24))
    assert [stack.wait(job_id)["counts"]["DONE"] for job_id in (*taken, urgent)] == [6, 6, 1]
    assert stack.wait(stack.submit(batches[2]))["counts"]["DONE"] == 6
    wait_for(stack, "queue", "ok")


def test_a_large_body_is_drained_so_that_its_sender_gets_the_answer(stack: Stack) -> None:
    """Left unread, 8 MiB would break the connection, and the sender would see no reason."""
    with stopped(stack.child("worker.app")), stack.client as client:
        filling = stack.submit(make_images(12, seed=25))
        large = [("files", (f"{n}.jpeg", encode(draw(n)) + bytes(1024 * 1024))) for n in range(8)]
        for _ in range(5):
            assert client.post("/api/v1/jobs", files=large).status_code == 429
    assert stack.wait(filling)["counts"]["DONE"] == 12


def test_a_low_disk_refuses_all_and_screens_what_was_accepted(stack: Stack) -> None:
    """A second web on the same data keeps more free than there is; the first and the workers go on."""
    wait_for(stack, "workers", "idle")
    environment = {"PNEUMOSCREEN_MIN_FREE_BYTES": str(1 << 50)}
    with another_web(stack, environment) as url:
        with httpx.Client(base_url=url, headers=stack.client.headers, timeout=60) as client:
            refused = client.post("/api/v1/jobs", files=[("files", image) for image in make_images(1, seed=27).items()])
            assert (refused.status_code, refused.headers["Retry-After"]) == (507, "5")
            assert refused.json()["type"] == "/status#disk-low"
            ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["disk"]) == (200, "disk low")
        assert stack.wait(stack.submit(make_images(2, seed=28)))["counts"]["DONE"] == 2


@contextmanager
def another_web(stack: Stack, environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    web = stack.child("web.wsgi:app")
    with (stack.data_dir / "another-web.log").open("wb") as log:
        process = subprocess.Popen(
            web_command("127.0.0.1", port, 4), env={**web.environ(), **environment}, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), 90, "the second web to answer")
        yield url
    finally:
        process.terminate()
        process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


# ---------------------------------------------------------------- without a stack: a real Redis and database


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, redis_url: str, spec: ModelSpec) -> Iterator[Site]:
    site = Site(settings, sqlite_database, redis_url=SecretStr(redis_url), stall_seconds=1)
    site.install_model(spec)
    yield site
    heartbeats = Heartbeats(site.settings)
    for worker in heartbeats.workers():
        heartbeats.leave(worker)
    heartbeats.close()


@pytest.fixture
def heartbeats(site: Site) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats(site.settings)
    yield heartbeats
    heartbeats.close()


def screening(site: Site) -> str:
    condition: str = site.app.test_client().get("/readyz").json["checks"]["screening"]  # type: ignore[index]
    return condition


def test_images_of_a_model_that_nobody_serves_do_not_stall_the_others(site: Site, heartbeats: Heartbeats) -> None:
    post_images(site.token_client(site.add_user("tina")), ("a", encode(draw(1))))
    assert screening(site) == "no worker"
    heartbeats.announce("w1", "another@0123", 90)
    assert screening(site) == "model not served"
    home = site.browser(site.add_user("tom")).get("/").text
    assert "<strong>Model not served.</strong>" in home
    heartbeats.announce("w2", f"{site.settings.model}@0123", 90)
    wait_until(lambda: screening(site) == "no progress", 10, "the second worker to have had its time")


def test_a_worker_that_has_just_come_is_given_time(site: Site, heartbeats: Heartbeats) -> None:
    post_images(site.token_client(site.add_user("tina")), ("a", encode(draw(1))))
    heartbeats.announce("w1", f"{site.settings.model}@0123", 90)
    wait_until(lambda: screening(site) == "no progress", 10, "no progress")
    heartbeats.announce("w1", f"{site.settings.model}@0123", 0.5)
    assert screening(site) == "ok"


def test_people_see_lights_and_administrators_see_who_works(
    site: Site, heartbeats: Heartbeats, spec: ModelSpec
) -> None:
    tina = site.add_user("tina")
    post_images(site.token_client(tina), ("a", encode(draw(1))), ("b", b"no X-ray"))
    heartbeats.announce("host-7:12", spec.version, 3700)
    for name, role in (("rita", Role.READER), ("tom", Role.TECHNICIAN)):
        page = site.browser(site.add_user(name, role)).get("/status")
        assert page.status_code == 200
        assert "Workers" in page.text
        assert "host-7:12" not in page.text
    admin = site.browser(site.add_user("ada", Role.ADMIN))
    page = admin.get("/status").text
    for said in ("host-7:12", spec.version, "1 h 1 min", "1 of at most 100,000", "unknown_format", "Redis"):
        assert said in page
    assert site.count(Screening) == 2
    assert 'id="queue-full"' in page, "where the type of a problem leads"
    assert "<html" not in admin.get("/status/fragment").text


def test_the_status_page_needs_a_sign_in(site: Site) -> None:
    assert site.browser().get("/status").status_code == 303
