"""What pages and uploads make of heartbeats on Redis that no worker of this version wrote."""

import json
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.queue.heartbeats import DROPPED_KEY, LOST_AFTER_SECONDS, Heartbeats
from shared.settings import Settings
from shared.submission.measurement import Measurement
from shared.tables import Job, Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images

KEY = "pneumoscreen:worker:"
GOOD = {"model": "compact-cnn@0123", "ready_seconds": 12.5}
UNREADABLE = [
    b"",
    b"garbage",
    b"\xff\xfe\x00",
    b"null",
    b"[1, 2]",
    b'"text"',
    b"17",
    b"{}",
    b'{"model": null, "ready_seconds": 1}',
    b'{"model": ["a"], "ready_seconds": 1}',
    b'{"model": "", "ready_seconds": 1}',
    b'{"model": "a\\u0000b", "ready_seconds": 1}',
    b'{"model": "a@1", "ready_seconds": ' + b"9" * 5000 + b"}",
    b"[" * 2000,
    json.dumps({**GOOD, "model": "m" * 10_000}).encode(),
]
NEWER = [
    {**GOOD, "models": ["a", "b"], "gpu": {"name": "x"}, "version": 2},
    {"model": "compact-cnn@0123"},
    {**GOOD, "ready_seconds": "long"},
    {**GOOD, "ready_seconds": True},
    {**GOOD, "ready_seconds": -5},
    {**GOOD, "ready_seconds": float("inf")},
    {**GOOD, "ready_seconds": float("nan")},
    {**GOOD, "ready_seconds": 1e300},
]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture
def heartbeats(settings: Settings, redis: Redis, redis_url: str) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats(settings.model_copy(update={"redis_url": SecretStr(redis_url)}))
    yield heartbeats
    heartbeats.close()


def test_values_that_cannot_be_read_are_passed_over(redis: Redis, heartbeats: Heartbeats) -> None:
    for number, value in enumerate(UNREADABLE):
        redis.set(f"{KEY}w{number:02d}", value, ex=LOST_AFTER_SECONDS)
    redis.set(KEY.encode() + b"\xff", json.dumps(GOOD), ex=LOST_AFTER_SECONDS)
    redis.set(f"{KEY}for ever", json.dumps(GOOD))
    redis.rpush(f"{KEY}list", "a")
    redis.expire(f"{KEY}list", LOST_AFTER_SECONDS)
    redis.set(f"{KEY}large", b"x" * 1_000_000, ex=LOST_AFTER_SECONDS)
    heartbeats.announce("host:1", "compact-cnn@0123", 12.5)
    assert heartbeats.workers() == ["host:1"]


@pytest.mark.parametrize("value", NEWER, ids=[str(number) for number in range(len(NEWER))])
def test_a_worker_of_another_version_is_seen(redis: Redis, heartbeats: Heartbeats, value: dict) -> None:
    redis.set(f"{KEY}host:2", json.dumps(value), ex=2 * LOST_AFTER_SECONDS)
    (heartbeat,) = heartbeats.latest()
    assert (heartbeat.worker, heartbeat.model_name) == ("host:2", "compact-cnn")
    assert 0 <= heartbeat.ready_seconds < 1e9
    assert heartbeat.seconds_ago >= 0


@pytest.mark.parametrize("counted", [b"", b"x", b"-1", b"9" * 400])
def test_a_count_of_dropped_messages_that_is_none_is_left_out(
    redis: Redis, heartbeats: Heartbeats, counted: bytes
) -> None:
    assert heartbeats.dropped_messages() == 0
    redis.set(DROPPED_KEY, counted)
    assert heartbeats.dropped_messages() in {None, 0, int("9" * 18)}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, redis: Redis, redis_url: str, spec: ModelSpec) -> Site:
    site = Site(settings, sqlite_database, redis_url=SecretStr(redis_url))
    site.install_model(spec.model_copy(update={"name": site.settings.model}))
    for number, value in enumerate(UNREADABLE):
        redis.set(f"{KEY}w{number:02d}", value, ex=LOST_AFTER_SECONDS)
    for number, newer in enumerate(NEWER):
        redis.set(f"{KEY}newer{number}", json.dumps(newer), ex=LOST_AFTER_SECONDS)
    redis.set(DROPPED_KEY, 7)
    return site


def test_pages_metrics_and_uploads_outlive_heartbeats_that_cannot_be_read(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))
    answer = post_images(client, *[(f"{n}.jpeg", encode(draw(n))) for n in range(9)])
    assert answer.status_code == 202
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["broker"]) == (200, "ok")
    metrics = client.get("/metrics").text
    assert f"pneumoscreen_workers {float(len(NEWER))}" in metrics
    assert f'pneumoscreen_model_workers{{model="compact-cnn"}} {float(len(NEWER))}' in metrics
    assert "pneumoscreen_dropped_messages_total 7.0" in metrics
    assert site.browser(site.add_user("ada", Role.ADMIN)).get("/status").status_code == 200


def test_nothing_that_fails_after_the_commit_fails_the_upload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ticket_sender and a look at the workers that break in ways that nobody foresaw."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = site.token_client(site.add_user("tina"))
    few, many = [("a.jpeg", encode(draw(1)))], [(f"{n}.jpeg", encode(draw(10 + n))) for n in range(9)]
    monkeypatch.setattr(site.sent_tickets, "send", broken)
    assert post_images(client, *few).status_code == 202
    monkeypatch.setattr(site.capacity, "workers", Measurement(broken))
    assert post_images(client, *many).status_code == 202
    with site.database.read() as session:
        assert len(list(session.scalars(select(Screening)))) == 10
        assert len(list(session.scalars(select(Job)))) == 2
    job_id = site.screenings()[0].job_id
    assert client.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 200
    assert client.post(f"/api/v1/jobs/{job_id}/retry").status_code == 200
