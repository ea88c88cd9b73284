"""Health checks and Prometheus metrics. No answer names an image or a person."""

import time
from collections import Counter as Counts
from collections.abc import Iterator, Sequence
from typing import Final

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from shared.queue.heartbeats import Heartbeat
from shared.submission.services import Services
from web.base.conditions import GOOD
from web.base.services import EXTENSION as SERVICES
from web.guard.access import open_to_all
from web.watch.queue_state import count_by_state
from web.watch.status import EXTENSION as WATCH
from web.watch.status import Queue, Watch, watch

blueprint = Blueprint("health", __name__)

_METRICS: Final = "pneumoscreen_metrics"
_PREFIX: Final = "pneumoscreen"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"
"""Replaces values invented by clients: each label value is a time series that lasts as long as the process."""


@blueprint.get("/healthz")
@open_to_all
def healthz() -> ResponseReturnValue:
    """Report liveness: only that the process answers, so that a lost database does not restart the web."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@open_to_all
def readyz() -> ResponseReturnValue:
    """Report readiness: 503 only where nothing can be stored or shown; images can wait for Redis, a model or worker."""
    status = watch().status()
    unserved = list(status.queue.unserved) if status.queue is not None else []
    said = {"status": status.summary, "checks": dict(status.checks), "unserved_models": unserved}
    return said, 200 if status.is_ready else 503


class Metrics:
    """Metrics of this process's requests and, on demand, of the whole system."""

    def __init__(self, services: Services, watch: Watch) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{_PREFIX}_http_requests", "Requests answered.", ("method", "endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            f"{_PREFIX}_http_request_seconds", "Time to answer.", ("endpoint",), registry=self.registry
        )
        self.registry.register(_Whole(services, watch))


class _Whole(Collector):
    """Collector of the status page's numbers."""

    def __init__(self, services: Services, watch: Watch) -> None:
        self._services, self._watch = services, watch

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Describe nothing, so that registering does not query the database."""
        yield from ()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Collect the system's numbers; unknown ones are omitted."""
        status = self._watch.status()
        checks = _gauge("check_ok", "1 where a part works.", labels=("check",))
        conditions = _gauge("check_condition", "1 for the condition of each part.", labels=("check", "condition"))
        for check, condition in status.checks.items():
            checks.add_metric([check], float(condition in GOOD))
            conditions.add_metric([check, condition], 1.0)
        yield from (checks, conditions)
        if status.workers is not None:
            yield _gauge("workers", "Workers that say they are ready.", len(status.workers))
            yield from self._broker(status.workers)
        yield _gauge(
            "disk_free_min_bytes", "Room below which no upload is taken.", self._services.settings.min_free_bytes
        )
        if status.free_bytes is not None:
            yield _gauge("disk_free_bytes", "Room on the fullest of the disks that are watched.", status.free_bytes)
        if status.queue is not None:
            yield from self._images(status.queue)

    def _broker(self, workers: Sequence[Heartbeat]) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        serving = _gauge("model_workers", "Workers that say they serve a model.", labels=("model",))
        for model, number in Counts(heartbeat.model_name for heartbeat in workers).items():
            serving.add_metric([model], number)
        yield serving
        dropped = self._watch.dropped_messages()
        if dropped is not None:
            yield CounterMetricFamily(f"{_PREFIX}_dropped_messages", "Messages on Redis that were no tickets.", dropped)

    def _images(self, queue: Queue) -> Iterator[GaugeMetricFamily]:
        images = _gauge("screenings", "Screenings by state.", labels=("state",))
        for state, number in self._count_screenings().items():
            images.add_metric([state], number)
        waiting = _gauge("backlog_images", "Images that wait for a worker.", labels=("priority",))
        waiting.add_metric(["interactive"], queue.backlog.interactive)
        waiting.add_metric(["bulk"], queue.backlog.bulk)
        by_model = _gauge("model_backlog_images", "Images that wait for a worker, by model.", labels=("model",))
        for model, number in queue.by_model.items():
            by_model.add_metric([model], number)
        yield from (images, waiting, by_model)
        yield _gauge("backlog_limit_images", "Images that may wait.", self._services.settings.max_backlog)
        yield _gauge("images_per_second", "Images that workers answered, over half a minute.", queue.per_second)
        yield _gauge("oldest_waiting_seconds", "How long the oldest image waits.", queue.oldest_seconds or 0.0)

    def _count_screenings(self) -> dict[str, int]:
        with self._services.database.read() as db:
            return {state.value: images for state, images in count_by_state(db).items()}


def _gauge(name: str, meaning: str, value: float | None = None, *, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", meaning, value, labels=labels or None)


def install(app: Flask) -> None:
    """Install the watch and the request metrics."""
    services: Services = app.extensions[SERVICES]
    app.extensions[WATCH] = Watch(services)
    app.extensions[_METRICS] = Metrics(services, app.extensions[WATCH])
    app.before_request(_start_clock)
    app.after_request(_count_request)


def _start_clock() -> None:
    g.started = time.perf_counter()


def _count_request(response: Response) -> Response:
    metrics: Metrics = current_app.extensions[_METRICS]
    endpoint = request.endpoint or "none"
    method = request.method if request.method in _METHODS else _OTHER
    metrics.requests.labels(method, endpoint, response.status_code).inc()
    metrics.seconds.labels(endpoint).observe(time.perf_counter() - g.started)
    return response


@blueprint.get("/metrics")
@open_to_all
def metrics() -> ResponseReturnValue:
    """Serve the metrics; requests are counted per process."""
    return Response(generate_latest(current_app.extensions[_METRICS].registry), content_type=CONTENT_TYPE_LATEST)
