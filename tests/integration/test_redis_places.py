"""Broker, heartbeats and rates over TLS and under Sentinel, on real Redis servers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import pools
from pydantic import SecretStr

from shared.errors import BrokerAway
from shared.queue.broker import Broker
from shared.queue.heartbeats import Heartbeats
from shared.queue.tickets import make_ticket_sender
from shared.settings import PREFIX, Settings
from tests.conftest import ROOT
from tests.integration.conftest import wait_until
from tests.integration.ticket_worker import DONE_KEY, SECONDS_VARIABLE
from tests.redis_servers import make_certificates, redis_under_sentinel, redis_with_tls
from web.guard.rate_storage import RedisLater, counted_in

MODEL = "some-model"
MASTER = "pneumo"
SECONDS = 100


def at(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(url), "redis_master": MASTER, "model": MODEL})


def use(settings: Settings) -> None:
    """Send a ticket, a heartbeat and a counted request, as the product does each."""
    ticket_sender = make_ticket_sender(settings)
    before = ticket_sender.tickets(MODEL)
    ticket_sender.send(MODEL, 1)
    assert ticket_sender.tickets(MODEL) == before + 1
    speak(settings)
    broker = Broker.of(settings)
    rates = RedisLater(counted_in(broker), **broker.limits_options())
    assert rates.incr("one", 60) >= 1


def speak(settings: Settings) -> None:
    heartbeats = Heartbeats(settings)
    heartbeats.announce("w1", "m@1", 1.0)
    assert heartbeats.workers() == ["w1"]
    heartbeats.close()


def test_redis_over_tls_is_verified(settings: Settings, tmp_path: Path) -> None:
    with redis_with_tls(tmp_path) as (url, certificates):
        use(at(settings, f"{url}?ssl_ca_certs={certificates.authority}"))
        use(at(settings, f"{url}?ssl_cert_reqs=none"))
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        for trust in ("", f"?ssl_ca_certs={make_certificates(stranger).authority}"):
            distrusting = at(settings, url + trust)
            pools.reset()  # kombu shares them between all who name one host
            with pytest.raises(BrokerAway):
                Heartbeats(distrusting).workers()
            with pytest.raises(BrokerAway):
                make_ticket_sender(distrusting).send(MODEL, 1)


@pytest.mark.long
def test_redis_is_found_by_sentinel(settings: Settings, tmp_path: Path) -> None:
    with redis_under_sentinel(tmp_path, MASTER) as watched:
        use(at(settings, watched.url))
        unknown = at(settings, watched.url).model_copy(update={"redis_master": "nobody"})
        with pytest.raises(BrokerAway):
            Heartbeats(unknown).workers()
        with pytest.raises(BrokerAway):
            make_ticket_sender(unknown).tickets(MODEL)


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.ticket_worker", "worker", "--concurrency", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"],
            cwd=ROOT,
            env={
                **os.environ,
                f"{PREFIX}REDIS_URL": settings.redis_url.get_secret_value(),
                f"{PREFIX}REDIS_MASTER": MASTER,
                f"{PREFIX}MODEL": MODEL,
                SECONDS_VARIABLE: "0",
                "PYTHONPATH": str(ROOT),
            },
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def done(settings: Settings) -> int:
    with Broker.of(settings).connect(socket_timeout=2) as redis:
        return int(redis.get(DONE_KEY) or 0)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_worker_takes_tickets_over_tls(settings: Settings, tmp_path: Path) -> None:
    with redis_with_tls(tmp_path) as (url, certificates):
        live = at(settings, f"{url}?ssl_ca_certs={certificates.authority}")
        with worker(live, tmp_path / "worker.log"):
            make_ticket_sender(live).send(MODEL, 1)
            wait_until(lambda: done(live) == 1, SECONDS, "the ticket to be done")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_worker_follows_when_sentinel_names_another_master(settings: Settings, tmp_path: Path) -> None:
    with redis_under_sentinel(tmp_path, MASTER) as watched:
        live = at(settings, watched.url)
        with worker(live, tmp_path / "worker.log") as process:
            make_ticket_sender(live).send(MODEL, 1)
            wait_until(lambda: done(live) == 1, SECONDS, "the first ticket to be done")
            watched.servers[0].kill()
            wait_until(lambda: takes_ticket(live), SECONDS, "another master to take a ticket")
            wait_until(lambda: done(live) >= 2, SECONDS, "a ticket on the other master to be done")
            speak(live)
            assert process.poll() is None


def takes_ticket(settings: Settings) -> bool:
    try:
        make_ticket_sender(settings).send(MODEL, 1)
    except BrokerAway:
        return False
    return True
