"""What machines ask: alive, ready, and the numbers of Prometheus. No answer names a film or a person."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.db import now
from shared.errors import BrokerAway
from shared.presence import Presence
from shared.states import State
from shared.tables import Prediction, Screening, in_states
from web.parts import parts
from web.progress import model_problem

log = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)

OK: Final = "ok"
_METRICS: Final = "pneumoscreen_metrics"
_BROKER_SECONDS: Final = 1
# A worker that is alive answers a micro-batch in seconds.
_STALL: Final = timedelta(seconds=60)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say that the process answers; nothing else is asked, so that a lost database restarts no web."""
    return {"status": OK}


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Say what works. 503 only where no upload could be kept: films wait safely for Redis, a model or a worker."""
    needed = {"database": _database_state(), "store": _store_state()}
    wanted = {"broker": _broker_state(), "model": _model_state(), "workers": _worker_state()}
    if needed["database"] == OK:
        wanted["screening"] = _screening_state()
    is_ready = all(state == OK for state in needed.values())
    is_whole = is_ready and all(state == OK for state in wanted.values())
    status = OK if is_whole else "degraded" if is_ready else "unavailable"
    return {"status": status, "checks": needed | wanted}, 200 if is_ready else 503


def _database_state() -> str:
    try:
        with parts().database.read() as db:
            db.execute(select(Screening.id).limit(1))
    except SQLAlchemyError as error:
        log.warning("The database does not answer: %s", error)
        return "away"
    return OK


def _store_state() -> str:
    try:
        with tempfile.TemporaryFile(dir=parts().settings.store) as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        log.warning("The image store takes no files: %s", error)
        return "not writable"
    return OK


def _broker_state() -> str:
    url = parts().settings.redis_url.get_secret_value()
    try:
        with Redis.from_url(url, socket_connect_timeout=_BROKER_SECONDS, socket_timeout=_BROKER_SECONDS) as redis:
            redis.ping()
    except (RedisError, OSError):
        return "away"
    return OK


def _worker_state() -> str:
    """Say `none` where no worker with a network loaded has been heard of lately."""
    presence = Presence(parts().settings)
    try:
        return OK if presence.workers() else "none"
    except BrokerAway:
        return "unknown"
    finally:
        presence.close()


def _model_state() -> str:
    problem = model_problem(parts().settings)
    if problem is None:
        return OK
    log.warning("%s", problem)
    return "missing or damaged"


def _screening_state() -> str:
    """Say `stalled` where films have waited and no prediction was written for a while."""
    with parts().database.read() as db:
        oldest = _oldest_waiting(db)
        # Ids are ordered by time, so the newest prediction is found by its key.
        last = db.scalar(select(Prediction.created_at).order_by(Prediction.id.desc()).limit(1))
    limit = now() - _STALL
    return "stalled" if oldest is not None and oldest < limit and (last is None or last < limit) else OK


def _oldest_waiting(db: Session) -> datetime | None:
    return db.scalar(select(func.min(Screening.created_at)).where(in_states([State.QUEUED])))


class Metrics:
    """Count this process's requests, and read the queue from the database when asked."""

    def __init__(self, count_films: Callable[[], tuple[dict[str, int], float]]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pneumoscreen_http_requests", "Requests answered.", ("method", "endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "pneumoscreen_http_request_seconds", "Time to answer.", ("endpoint",), registry=self.registry
        )
        self.registry.register(_Queue(count_films))


class _Queue(Collector):
    def __init__(self, count_films: Callable[[], tuple[dict[str, int], float]]) -> None:
        self._count_films = count_films

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing beforehand, so that registering asks no database."""
        yield from ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the queue."""
        counts, waited = self._count_films()
        films = GaugeMetricFamily("pneumoscreen_screenings", "Screenings by state.", labels=("state",))
        for state, number in counts.items():
            films.add_metric([state], number)
        yield films
        yield GaugeMetricFamily("pneumoscreen_oldest_waiting_seconds", "How long the oldest film waits.", waited)


def _count_films() -> tuple[dict[str, int], float]:
    with parts().database.read() as db:
        rows = db.execute(select(Screening.state, func.count().label("films")).group_by(Screening.state))
        found = {row.state: row.films for row in rows}
        oldest = _oldest_waiting(db)
    waited = (now() - oldest).total_seconds() if oldest else 0.0
    return {state.value: found.get(state, 0) for state in State}, max(waited, 0.0)


def install(app: Flask) -> None:
    """Count every request."""
    app.extensions[_METRICS] = Metrics(_count_films)
    app.before_request(_start_clock)
    app.after_request(_count_request)


def _start_clock() -> None:
    g.started = time.perf_counter()


def _count_request(response: Response) -> Response:
    metrics: Metrics = current_app.extensions[_METRICS]
    endpoint = request.endpoint or "none"
    metrics.requests.labels(request.method, endpoint, response.status_code).inc()
    metrics.seconds.labels(endpoint).observe(time.perf_counter() - g.started)
    return response


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Give Prometheus its numbers; requests are counted for each process."""
    return Response(generate_latest(current_app.extensions[_METRICS].registry), content_type=CONTENT_TYPE_LATEST)
