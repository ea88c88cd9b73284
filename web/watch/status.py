"""The system's status: one word for each part, measured on demand, for programs and pages alike."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.activations.in_force import default_model
from shared.db import now
from shared.errors import BrokerAway, StoreAway, StoreFull
from shared.models.folder import find_problem
from shared.queue.heartbeats import Heartbeat
from shared.queue.leases import count_waiting
from shared.submission.backlog import Backlog, count_backlog, measure_speed
from shared.submission.measurement import Measurement
from shared.submission.new_store import create_if_new
from shared.submission.services import Services
from web.base.conditions import GOOD, SHUT, Check, Condition
from web.watch import queue_state

log = logging.getLogger(__name__)

EXTENSION: Final = "pneumoscreen_watch"


@dataclass(frozen=True)
class Queue:
    """Images in progress, from the rows."""

    backlog: Backlog
    running: int
    oldest_at: datetime | None
    """When the longest waiting image was sent."""
    per_second: float
    """Images a second that workers finished in the last half minute."""
    by_model: Mapping[str, int]
    """Waiting images, by the model of their job."""
    unserved: tuple[str, ...]
    """Models that images wait for and that no worker has loaded; empty where the workers are unknown."""
    has_stalled: bool
    model: str
    """The one that new jobs get."""

    @property
    def oldest_seconds(self) -> float | None:
        """Return how long the longest waiting image has waited; None where none waits."""
        return None if self.oldest_at is None else max(0.0, (now() - self.oldest_at).total_seconds())


@dataclass(frozen=True)
class Status:
    """The system's status at one moment."""

    at: datetime
    checks: Mapping[Check, Condition]
    queue: Queue | None
    """None where the database does not answer."""
    workers: tuple[Heartbeat, ...] | None
    """None where Redis does not answer."""
    model: str
    """The default model; without an answer from the database, that of the settings."""
    free_bytes: int | None
    """Free space of the fullest watched disk; None where everything is stored on other machines."""

    @property
    def is_ready(self) -> bool:
        """Tell whether new images can be stored and existing ones shown."""
        return not SHUT & set(self.checks.values())

    @property
    def problems(self) -> list[Condition]:
        """List the problems, each once, worst first."""
        found = set(self.checks.values()) - GOOD - {Condition.UNKNOWN}
        return sorted(found, key=list(Condition).index, reverse=True)

    @property
    def summary(self) -> str:
        """Summarise the status in one word: ok, degraded or unavailable."""
        whole = all(condition in GOOD for condition in self.checks.values())
        return "ok" if whole else "degraded" if self.is_ready else "unavailable"


class Watch:
    """One process's view of the system's status."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._capacity = services.capacity
        self.status = Measurement(self._measure)

    def broker_version(self) -> str | None:
        """Return the version of Redis; None where it does not answer."""
        try:
            return self._capacity.heartbeats.server_version()
        except BrokerAway:
            return None

    def dropped_messages(self) -> int | None:
        """Return how many messages in Redis were no tickets; None where that is unknown."""
        try:
            return self._capacity.heartbeats.dropped_messages()
        except BrokerAway:
            return None

    def _measure(self) -> Status:
        workers = self._capacity.read_workers()
        queue = self._look_at_queue(workers)
        settings, model = self._services.settings, queue.model if queue else self._services.settings.model
        free = self._capacity.free_bytes()
        checks = {
            Check.DATABASE: Condition.DATABASE_AWAY if queue is None else Condition.OK,
            Check.STORE: self._check_store(),
            Check.DISK: _judge_disk(free, settings.min_free_bytes),
            Check.QUEUE: _judge_backlog(queue, settings.max_backlog),
            Check.BROKER: Condition.BROKER_AWAY if workers is None else Condition.OK,
            Check.MODEL: self._check_model(model),
            Check.WORKERS: _judge_workers(workers, queue),
            Check.SCREENING: _judge_screening(workers, queue),
        }
        return Status(now(), checks, queue, workers, model, free)

    def _look_at_queue(self, workers: Sequence[Heartbeat] | None) -> Queue | None:
        try:
            with self._services.database.read() as db:
                return self._read_queue(db, workers)
        except SQLAlchemyError as error:
            log.warning("The database does not answer: %s", error)
            return None

    def _read_queue(self, db: Session, workers: Sequence[Heartbeat] | None) -> Queue:
        served = {heartbeat.model_name for heartbeat in workers or ()}
        stall_seconds = self._services.settings.stall_seconds
        # A new worker gets some time first.
        due = (
            {heartbeat.model_name for heartbeat in workers or () if heartbeat.ready_seconds >= stall_seconds}
            if workers
            else None
        )
        waiting = count_backlog(db)
        by_model = count_waiting(db) if waiting.images else {}
        return Queue(
            backlog=waiting,
            running=queue_state.count_running(db),
            oldest_at=queue_state.oldest_waiting(db),
            per_second=measure_speed(db),
            by_model=by_model,
            unserved=() if workers is None else tuple(sorted(by_model.keys() - served)),
            has_stalled=bool(waiting.images) and queue_state.has_stalled(db, due, timedelta(seconds=stall_seconds)),
            model=default_model(db, self._services.settings.model),
        )

    def _check_store(self) -> Condition:
        try:
            create_if_new(self._services.database, self._services.store)
            self._services.store.check()
        except (StoreAway, StoreFull, SQLAlchemyError) as error:
            log.warning("%s", str(error).splitlines()[0])
            return Condition.DISK_LOW if isinstance(error, StoreFull) else Condition.STORE_AWAY
        return Condition.OK

    def _check_model(self, name: str) -> Condition:
        problem = find_problem(self._services.settings.models_dir, name)
        if problem is None:
            return Condition.OK
        log.warning("No model: %s", problem)
        return Condition.NO_MODEL


def _judge_disk(free: int | None, least: int) -> Condition:
    return Condition.DISK_LOW if free is not None and free < least else Condition.OK


def _judge_backlog(queue: Queue | None, most: int) -> Condition:
    if queue is None:
        return Condition.UNKNOWN
    return Condition.QUEUE_FULL if queue.backlog.images >= most else Condition.OK


def _judge_workers(workers: Sequence[Heartbeat] | None, queue: Queue | None) -> Condition:
    if workers is None:
        return Condition.UNKNOWN
    if not workers:
        return Condition.NO_WORKER
    return Condition.IDLE if queue is not None and not queue.backlog.images + queue.running else Condition.OK


def _judge_screening(workers: Sequence[Heartbeat] | None, queue: Queue | None) -> Condition:
    """Judge whether images make progress; waiting for a missing worker is a condition of its own."""
    if queue is None:
        return Condition.UNKNOWN
    if not queue.backlog.images + queue.running:
        return Condition.IDLE
    if workers is not None and not workers and queue.backlog.images:
        return Condition.NO_WORKER
    if queue.has_stalled:
        return Condition.NO_PROGRESS
    return Condition.MODEL_NOT_SERVED if queue.unserved else Condition.OK


def watch() -> Watch:
    """Return the watch of the application that serves this request."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Watch)  # noqa: S101  # narrows the type of Flask's untyped dictionary
    return found
