"""The resources of one worker process: its screener, and the thread that writes its heartbeat to Redis."""

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass

from shared.database_limits import limits_of
from shared.db import Database
from shared.errors import BrokerAway
from shared.process.liveness import Liveness, liveness_folder
from shared.process.memory import spare_loaded
from shared.queue.heartbeats import BEAT_SECONDS, Heartbeats
from shared.settings import Settings
from shared.store.store import open_store
from worker.networks.load import load_classifier
from worker.screening.screen import Screener

log = logging.getLogger(__name__)


@dataclass
class WorkerProcess:
    """The resources of this process."""

    name: str
    database: Database
    screener: Screener
    heartbeats: Heartbeats
    stopped: threading.Event
    liveness: Liveness


_current: WorkerProcess | None = None


def start(settings: Settings) -> None:
    """Load the network and announce this process; called once in each child, after the fork."""
    global _current  # noqa: PLW0603  # Celery gives tasks no other place for what a process holds
    name = f"{socket.gethostname()}:{os.getpid()}"
    stopped, liveness = threading.Event(), Liveness(liveness_folder(), os.getpid())
    # The heartbeat begins before the network is loaded: a process that loads is alive, though not ready.
    threading.Thread(target=_show_life, args=(liveness, stopped), daemon=True).start()
    # Commits need no fsync: images whose results a power loss takes away are screened again.
    database = Database(settings.database, is_forced=False, limits=limits_of(settings))
    classifier = load_classifier(settings)
    heartbeats = Heartbeats(settings)
    store, served_models = open_store(settings), heartbeats.served_models
    screener = Screener(settings, database, store, classifier, name, served_models=served_models)
    _current = WorkerProcess(name, database, screener, heartbeats, stopped, liveness)
    threading.Thread(target=_announce, args=(_current,), daemon=True).start()
    spare_loaded()
    log.info("Worker %s is ready.", name)


def current() -> WorkerProcess:
    """Return this process's resources; raise RuntimeError before `start`."""
    if _current is None:
        raise RuntimeError("This process has not loaded a network. Start workers with `pneumoscreen worker`.")
    return _current


def stop() -> None:
    """Remove this process's heartbeat and close its connections."""
    if _current is None:
        return
    _current.stopped.set()
    _current.liveness.end()
    try:
        _current.heartbeats.leave(_current.name)
    except BrokerAway as error:
        log.warning("%s The worker's heartbeat ends by itself.", error)
    _current.heartbeats.close()
    _current.database.close()


def _show_life(liveness: Liveness, stopped: threading.Event) -> None:
    liveness.beat()
    while not stopped.wait(BEAT_SECONDS):
        liveness.beat()


def _announce(held: WorkerProcess) -> None:
    began = time.monotonic()
    while True:
        try:
            held.heartbeats.announce(held.name, held.screener.version, time.monotonic() - began)
        except BrokerAway as error:
            log.warning("%s The worker tries again.", error)
        if held.stopped.wait(BEAT_SECONDS):
            return
