"""What the queue alone carries: claims, tickets and rows on PostgreSQL and Redis, with a network that costs nothing.

`python -m benchmarks.queue_rate [--images 40000] [--workers 1 2]`. Images are rows without a file. The rate is taken
from the first image that a worker started to the last row written, by the rows themselves.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from sqlalchemy import func, select

from chaos.postgres import Postgres
from cli.serving import broker
from migrations.schema import upgrade
from shared.db import Database
from shared.intake.accept import AcceptedImage, Received
from shared.models.folder import read_spec
from shared.models.spec import ModelSpec
from shared.queue import jobs
from shared.queue.tickets import make_ticket_sender
from shared.settings import PREFIX, Settings, load_settings
from shared.states import State
from shared.tables import Job, Priority, Role, Screening, Source, User

IMAGES: Final = 40_000
ROUNDS: Final = 3
IMAGES_PER_REQUEST: Final = 200
START_SECONDS: Final = 120.0
DRAIN_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Carried:
    """The rates of one round."""

    workers: int
    submitted: float
    """Images a second, written by one client, IMAGES_PER_REQUEST a transaction."""
    screened: float
    """Images a second, claimed and settled."""
    busy: dict[str, float]
    """Cores kept busy by each part."""


@contextmanager
def running_services(folder: Path) -> Iterator[Settings]:
    """Start PostgreSQL and Redis, and yield settings that connect to them."""
    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres")
    socket, kept = folder / "redis.sock", folder / "redis"
    kept.mkdir()
    redis = subprocess.Popen(broker.command(broker.find_server(), kept, socket), stdout=subprocess.DEVNULL)
    try:
        broker.wait_until_ready(socket, redis)
        settings = load_settings(data_dir=folder, database_url=postgres.url, redis_url=f"unix://{socket}")
        database = Database(settings.database)
        upgrade(database)
        database.close()
        yield settings
    finally:
        redis.terminate()
        redis.wait()
        postgres.stop()


@contextmanager
def running_workers(settings: Settings, count: int) -> Iterator[psutil.Process]:
    """Start so many worker processes with a network that costs nothing, and wait until all have loaded."""
    command = [
        *(sys.executable, "-m", "celery", "-A", "benchmarks.free_network", "worker", "--pool", "prefork"),
        *("--concurrency", str(count), "--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    ]
    environment = {
        **os.environ,
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}DATABASE_URL": settings.database,
        f"{PREFIX}REDIS_URL": settings.redis_url.get_secret_value(),
    }
    log = settings.data_dir / "worker.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            until = time.monotonic() + START_SECONDS
            while log.read_text().count(" is ready.") < count:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"The workers did not start: {log.read_text()[-1000:]}")
                time.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class Rows:
    """Images as rows, and the workers' progress on them."""

    def __init__(self, settings: Settings, spec: ModelSpec) -> None:
        self._database = Database(settings.database)
        self._spec = spec
        self._next = 0
        with self._database.write() as session:
            user = User(name="benchmark", role=Role.TECHNICIAN)
            session.add(user)
            session.flush()
            self._user_id = user.id

    def add(self, images: int) -> tuple[Job, float]:
        """Submit a job of new images; return it and the images a second."""
        started = time.perf_counter()
        with self._database.write() as session:
            job = jobs.open_job(
                session,
                user_id=self._user_id,
                name="Benchmark",
                source=Source.API,
                model_name=self._spec.name,
                priority=Priority.BULK,
            )
        for start in range(0, images, IMAGES_PER_REQUEST):
            with self._database.write() as session:
                jobs.add_images(session, job.id, self._draw(min(IMAGES_PER_REQUEST, images - start)), self._spec)
        with self._database.write() as session:
            jobs.close_job(session, job.id)
        return job, images / (time.perf_counter() - started)

    def _draw(self, images: int) -> list[Received]:
        numbers = range(self._next, self._next + images)
        self._next += images
        return [Received(f"{n}.jpeg", image=AcceptedImage(f"{n:064x}", 7000, 224, 224, "image/jpeg")) for n in numbers]

    def wait(self, job: Job) -> float:
        """Wait until a job is done and return the images a second from the first claim to the last row."""
        query = select(func.count(), func.min(Screening.started_at), func.max(Screening.finished_at)).where(
            Screening.job_id == job.id, Screening.state == State.DONE
        )
        until = time.monotonic() + DRAIN_SECONDS
        waiting = select(func.count()).where(Screening.job_id == job.id, Screening.state != State.DONE)
        while self._scalar(waiting):
            if time.monotonic() > until:
                raise RuntimeError("The images were not all screened.")
            time.sleep(0.2)
        with self._database.read() as session:
            done, first, last = session.execute(query).one()
        if first is None or last is None:
            raise RuntimeError("No image was screened; the worker's log is in the data folder.")
        return float(done / (last - first).total_seconds())

    def _scalar(self, query: object) -> int:
        with self._database.read() as session:
            return int(session.scalar(query) or 0)  # type: ignore[call-overload]  # a count

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def _seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(time.user + time.system for time in times)


def _parts(worker: psutil.Process) -> dict[str, list[psutil.Process]]:
    everyone = list(psutil.process_iter(["name"]))
    return {
        "workers": [worker, *worker.children(recursive=True)],
        "postgres": [p for p in everyone if p.info["name"].startswith("postgres")],
        "redis": [p for p in everyone if p.info["name"].startswith(("redis-server", "valkey-server"))],
    }


def measure(images: int, workers: Sequence[int], rounds: int = ROUNDS) -> list[Carried]:
    """Measure each number of workers, `rounds` times, each with new images."""
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscreen-queue-")))
        settings = stack.enter_context(running_services(folder))
        rows = Rows(settings, read_spec(settings.model_dir))
        stack.callback(rows.close)
        ticket_sender = make_ticket_sender(settings)
        for count in workers:
            with running_workers(settings, count) as worker:
                for _ in range(rounds):
                    job, submitted = rows.add(images)
                    parts = _parts(worker)
                    before, started = {part: _seconds(found) for part, found in parts.items()}, time.perf_counter()
                    ticket_sender.send(settings.model, images)
                    screened = rows.wait(job)
                    elapsed = time.perf_counter() - started
                    busy = {part: (_seconds(parts[part]) - spent) / elapsed for part, spent in before.items()}
                    found.append(Carried(count, submitted, screened, busy))
    return found


def show(found: Sequence[Carried]) -> None:
    """Print a line for each number of workers: medians over the rounds, and busy cores."""
    for count in sorted({one.workers for one in found}):
        rounds = [one for one in found if one.workers == count]
        middle = statistics.median(one.screened for one in rounds)
        spread = f"{min(one.screened for one in rounds):,.0f} to {max(one.screened for one in rounds):,.0f}"
        busy = ", ".join(f"{part} {statistics.median(o.busy[part] for o in rounds):.2f}" for part in rounds[0].busy)
        submitted = statistics.median(one.submitted for one in rounds)
        print(
            f"{count} workers: {middle:,.0f} images/s claimed and settled ({spread}), "
            f"{submitted:,.0f} images/s submitted; cores busy: {busy}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help=f"images a round (default {IMAGES:,})")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    found = measure(options.images, options.workers)
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=2))


if __name__ == "__main__":
    main()
