"""How lists, job pages and exports behave once there are millions of images: p50, p95 and worst of each question.

`python -m benchmarks.growth --rows 1000000 10000000 --keep runs/growth --json growth.json` draws the rows with
`benchmarks.rows` where the folder has none, then asks the real application each question REPEATS times, each time with
other values, as each kind of account, in PostgreSQL and, of up to a million images, in SQLite. "database" is the sum of
the request's statements, rows fetched; "page" is the whole answer, rendered. Exports are taken from a real gunicorn.
"""

import argparse
import base64
import functools
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx
import psutil
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, select, text

from benchmarks.rows import FEWEST_WITH_LARGE, LARGE_JOB, fill_postgres, fill_sqlite, postgres
from migrations.schema import upgrade
from shared.accounts import sessions, tokens
from shared.db import Database
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Model, Scope, Screening, User
from web.app import create_app

REPEATS: Final = 30
DATABASE_MS: Final = 50.0
PAGE_MS: Final = 100.0
SQLITE_ROWS: Final = 1_000_000
PEOPLE: Final = {"reader": "rita", "busy": "tech-00", "usual": "tech-05", "early": "tech-18", "rare": "tech-19"}
"""The busiest technician sent a third of all images, a usual one a 25th, another only in the first months."""

Values = dict[str, str]


@dataclass(frozen=True)
class Figures:
    """The latency of one request, in milliseconds."""

    question: str
    who: str
    database_p50: float
    database_p95: float
    database_max: float
    page_p50: float
    page_p95: float
    page_max: float
    statements: int

    @property
    def is_met(self) -> bool:
        """Tell whether the 95th percentiles meet their targets."""
        return self.database_p95 <= DATABASE_MS and self.page_p95 <= PAGE_MS


# ---------------------------------------------------------------- time in the database


class Clock:
    """Time spent in statements, and their number."""

    def __init__(self) -> None:
        self.seconds, self.statements, self._lock = 0.0, 0, threading.Lock()

    def reset(self) -> None:
        """Reset time and number."""
        self.seconds, self.statements = 0.0, 0

    def add(self, seconds: float, statements: int = 0) -> None:
        """Add the time of one call; threads may call at once."""
        with self._lock:
            self.seconds, self.statements = self.seconds + seconds, self.statements + statements


def watch_statements(database: Database, clock: Clock) -> None:
    """Time a database's statements and fetches: PostgreSQL's driver fetches all rows at execution, SQLite's none."""
    if database.engine.dialect.name == "sqlite":
        event.listen(database.engine, "do_connect", lambda _d, _r, args, given: _timed_connection(clock, args, given))
        return

    def begin(_c: Any, _cursor: Any, _s: str, _p: Any, context: Any, _many: bool) -> None:
        context.began = time.perf_counter()

    def end(_c: Any, _cursor: Any, _s: str, _p: Any, context: Any, _many: bool) -> None:
        clock.add(time.perf_counter() - context.began, 1)

    event.listen(database.engine, "before_cursor_execute", begin)
    event.listen(database.engine, "after_cursor_execute", end)


def _timed_connection(clock: Clock, args: list[Any], given: dict[str, Any]) -> sqlite3.Connection:
    class TimedCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Self:
            _timed(clock, 1, super().execute, sql, parameters)
            return self

        def fetchall(self) -> list[Any]:
            return list(_timed(clock, 0, super().fetchall))

        def fetchone(self) -> Any:
            return _timed(clock, 0, super().fetchone)

    class TimedConnection(sqlite3.Connection):
        def cursor(self, factory: Any = TimedCursor) -> Any:
            return super().cursor(factory)

    return sqlite3.connect(*args, **given, factory=TimedConnection)


def _timed(clock: Clock, statements: int, call: Callable[..., Any], *values: Any) -> Any:
    began = time.perf_counter()
    try:
        return call(*values)
    finally:
        clock.add(time.perf_counter() - began, statements)


# ---------------------------------------------------------------- requests


class Sample:
    """Values to fill requests with, drawn from the rows."""

    def __init__(self, database: Database) -> None:
        self.lot = random.Random(1)  # noqa: S311  # not for secrets
        with database.read() as db:
            first, last = (db.scalar(select(Screening.id).order_by(order).limit(1)) for order in _ENDS)
            if first is None or last is None:
                raise SystemExit("The database holds no images. Remove it, so that it is filled anew.")
            self._ids = (first.int, last.int)
            self.models = [f"{name}@{sha}"[:40] for name, sha in db.execute(select(Model.name, Model.sha256))]
            self.jobs = self._draw_ids(db, Job.id, 200)
            self.images = self._draw_ids(db, Screening.id, 300)
            large = select(Job.id).where(Job.next_position >= LARGE_JOB).order_by(Job.id)
            self.finished, self.running = list(db.scalars(large))[-2:]
            self.large_images = list(
                db.scalars(select(Screening.id).where(Screening.job_id == self.finished).limit(300))
            )
            self.names = list(db.scalars(select(Screening.file_name).where(Screening.id.in_(self.images))))

    def _draw_ids(self, db: Any, column: Any, count: int) -> list[uuid.UUID]:
        drawn = [self._id() for _ in range(count)]
        found = [db.scalar(select(column).where(column <= key).order_by(column.desc()).limit(1)) for key in drawn]
        return [key for key in found if key is not None]

    def _id(self) -> uuid.UUID:
        return uuid.UUID(int=self.lot.randint(*self._ids))

    def day(self, since: float = 0.0, until: float = 1.0) -> str:
        """Draw a day from a part of the time span."""
        first, last = (key >> 80 for key in self._ids)
        at = first + (last - first) * self.lot.uniform(since, until)
        return datetime.fromtimestamp(at / 1000, UTC).date().isoformat()

    def span(self, days: int) -> Values:
        """Draw a range of so many days."""
        since = self.day(0.0, 0.95)
        until = datetime.fromisoformat(since) + timedelta(days=days - 1)
        return {"since": since, "until": until.date().isoformat()}

    def cursor(self, order: str) -> str:
        """Return the cursor of a page somewhere in the list."""
        key: list[Any] = [str(self._id())] if order == "newest" else [self.lot.uniform(0.0, 1.0), str(self._id())]
        if order == "unread":
            key = [self.lot.randint(0, 1), *key]
        way = "after" if self.lot.random() < 0.7 else "before"
        return base64.urlsafe_b64encode(json.dumps([way, *key]).encode()).decode().rstrip("=")


_ENDS: Final = (Screening.id, Screening.id.desc())


def filters(sample: Sample) -> dict[str, Callable[[], Values]]:
    """Return filters by name: single and combined, common, rare and matching nothing."""
    lot = sample.lot
    old, new = sample.models[0], sample.models[-1]

    def between(low: float, high: float) -> Values:
        start = lot.uniform(low, high)
        return {"min_confidence": f"{start:.4f}", "max_confidence": f"{start + 0.0002:.4f}"}

    return {
        "none": dict,
        "label": lambda: {"label": lot.choice(["NORMAL", "PNEUMONIA"])},
        "confidence from": lambda: {"min_confidence": f"{lot.uniform(0.5, 0.99):.3f}"},
        "confidence to": lambda: {"max_confidence": f"{lot.uniform(0.42, 0.8):.3f}"},
        "confidence, narrow": lambda: between(0.45, 0.99),
        "confidence, nothing": lambda: {"max_confidence": f"{lot.uniform(0.0, 0.39):.3f}"},
        "a day": lambda: sample.span(1),
        "a month": lambda: sample.span(30),
        "until": lambda: {"until": sample.day()},
        "old model": lambda: {"model": old},
        "new model": lambda: {"model": new},
        "unknown model": lambda: {"model": f"none-{lot.random()}"},
        "state DONE": lambda: {"state": "DONE"},
        "state, ended": lambda: {"state": lot.choice(["REJECTED", "FAILED", "CANCELLED"])},
        "state, under way": lambda: {"state": lot.choice(["QUEUED", "RUNNING"])},
        "job": lambda: {"job": str(lot.choice(sample.jobs))},
        "job of 50,000": lambda: {"job": str(lot.choice([sample.finished, sample.running]))},
        "job of 50,000, label": lambda: {"job": str(sample.finished), "label": lot.choice(["NORMAL", "PNEUMONIA"])},
        "text, common": lambda: {"text": f"{lot.randint(0, 9)}.jpeg"},
        "text, one image": lambda: {"text": lot.choice(sample.names)},
        "text, nothing": lambda: {"text": f"zz{lot.random()}"},
        "text and a day": lambda: {"text": f"-000{lot.randint(0, 9)}", **sample.span(1)},
        "label, confidence": lambda: {"label": "NORMAL", "min_confidence": f"{lot.uniform(0.9, 0.99):.3f}"},
        "label, old model": lambda: {"label": "NORMAL", "model": old},
        "label, state FAILED": lambda: {"label": "NORMAL", "state": "FAILED"},
        "old model, new days": lambda: {"model": old, "since": sample.day(0.5, 1.0)},
        "old model, confidence": lambda: {"model": old, **between(0.45, 0.99)},
        "confidence, a month": lambda: {"min_confidence": f"{lot.uniform(0.9, 0.999):.3f}", **sample.span(30)},
        "state, a day": lambda: {"state": "CANCELLED", **sample.span(1)},
        "all at once": lambda: {
            "label": "PNEUMONIA", "min_confidence": "0.5", "max_confidence": f"{lot.uniform(0.51, 0.99):.3f}",
            "model": lot.choice([old, new]), "state": "DONE", **sample.span(90),
        },
    }  # fmt: skip


def questions(sample: Sample) -> Iterator[tuple[str, tuple[str, ...], Callable[[], str]]]:
    """Yield each request's name, the accounts that send it, and the function that makes its URL."""
    lot = sample.lot
    everyone = tuple(PEOPLE)
    for order in ("newest", "suspicious"):
        for name, make in filters(sample).items():
            yield f"history, {order}: {name}", everyone, _address("/history", make, order=order)
        deep = _deep(sample, order)
        yield f"history, {order}: deep page", everyone, _address("/history", deep, order=order)
        beside = _address("/screenings/{id}", dict, order=order)
        yield f"image, in {order}", ("reader",), lambda made=beside: made().format(id=lot.choice(sample.images))  # type: ignore[misc]
        rare = _address("/screenings/{id}", lambda: {"label": "NORMAL"}, order=order)
        yield f"image, in {order}, normal", ("reader",), lambda made=rare: made().format(id=lot.choice(sample.images))  # type: ignore[misc]
        yield f"API predictions, {order}", everyone, _address("/api/v1/predictions", deep, order=order)
    yield from _worklist(sample)
    yield from _figures(sample)
    yield "image, in its job", ("reader",), lambda: f"/screenings/{lot.choice(sample.images)}"
    yield "image, in a job of 50,000", ("reader",), lambda: f"/screenings/{lot.choice(sample.large_images)}"
    yield "jobs", everyone, lambda: "/jobs"
    yield "jobs, deep page", everyone, lambda: f"/jobs?cursor={sample.cursor('newest')}"
    yield "API jobs", everyone, lambda: f"/api/v1/jobs?cursor={sample.cursor('newest')}"
    yield "job", ("reader",), lambda: f"/jobs/{lot.choice(sample.jobs)}"
    for name, job in (("finished", sample.finished), ("running", sample.running)):
        for part, who in (("", "page"), ("/fragment", "poll")):
            yield f"job of 50,000, {name}: {who}", ("reader",), lambda at=f"/jobs/{job}{part}": at  # type: ignore[misc]
        yield f"job of 50,000, {name}: deep page", ("reader",), _job_page(sample, job)
        for state in (State.DONE, State.FAILED, State.QUEUED):
            at = f"/jobs/{job}?state={state}"
            yield f"job of 50,000, {name}: {state}", ("reader",), lambda at=at: at  # type: ignore[misc]
        yield f"API job of 50,000, {name}", ("reader",), lambda at=f"/api/v1/jobs/{job}": at  # type: ignore[misc]
        at = f"/api/v1/jobs/{job}/screenings"
        yield f"API images of 50,000, {name}", ("reader",), lambda at=at: at  # type: ignore[misc]
    yield "metrics", ("reader",), lambda: "/metrics"
    yield "status", ("reader",), lambda: "/status"


def _worklist(sample: Sample) -> Iterator[tuple[str, tuple[str, ...], Callable[[], str]]]:
    """Yield the requests to the worklist, which only readers send."""
    lot = sample.lot
    asked: dict[str, Callable[[], Values]] = {
        "all": dict,
        "unread": lambda: {"review": "unread"},
        "second look": lambda: {"review": "second_reader"},
        "disagreed": lambda: {"review": "disagreed"},
        "mine": lambda: {"review": "mine"},
        "outside": lambda: {"review": "outside"},
        "label": lambda: {"label": lot.choice(["NORMAL", "PNEUMONIA"])},
        "suspicion": lambda: {
            "min_suspicion": f"{lot.uniform(0, 90):.1f}",
            "max_suspicion": f"{lot.uniform(90, 100):.1f}",
        },
        "suspicion, narrow": lambda: {"min_suspicion": (low := f"{lot.uniform(40, 99):.3f}"), "max_suspicion": low},
        "a day": lambda: sample.span(1),
        "a month, unread": lambda: {"review": "unread", **sample.span(30)},
        "job": lambda: {"job": str(lot.choice(sample.jobs))},
        "job of 50,000": lambda: {"job": str(lot.choice([sample.finished, sample.running]))},
        "model": lambda: {"model": lot.choice(sample.models)},
        "text, one image": lambda: {"text": lot.choice(sample.names)},
        "text, nothing": lambda: {"text": f"zz{lot.random()}"},
    }
    for name, make in asked.items():
        yield f"worklist: {name}", ("reader",), _address("/worklist", make)
    yield "worklist: deep page", ("reader",), _address("/worklist", lambda: {"cursor": sample.cursor("unread")})
    shown = _address("/screenings/{id}", dict, order="unread")
    yield "image, in the worklist", ("reader",), lambda: shown().format(id=lot.choice(sample.images))
    unread = _address("/screenings/{id}", lambda: {"review": "unread"}, order="unread")
    yield "image, in the unread of the worklist", ("reader",), lambda: unread().format(id=lot.choice(sample.images))


def _figures(sample: Sample) -> Iterator[tuple[str, tuple[str, ...], Callable[[], str]]]:
    """Yield the requests to pages of figures, which count up to a million rows each time."""
    for days in (7, 30, 90):
        span = functools.partial(sample.span, days)
        yield f"figures: quality, {days} days", ("reader",), _address("/quality", span)
    yield "figures: models", ("reader",), lambda: "/models"
    name = sample.models[-1].partition("@")[0]
    tried = {"threshold": "40", "prevalence": "10"}
    yield "figures: a threshold tried", ("reader",), _address(f"/models/{name}", lambda: tried)


def _address(path: str, make: Callable[[], Values], **more: str) -> Callable[[], str]:
    return lambda: f"{path}?{urlencode({**make(), **more})}"


def _deep(sample: Sample, order: str) -> Callable[[], Values]:
    return lambda: {"cursor": sample.cursor(order)}


def _job_page(sample: Sample, job: uuid.UUID) -> Callable[[], str]:
    def make() -> str:
        cursor = json.dumps(["after", sample.lot.randrange(LARGE_JOB)]).encode()
        return f"/jobs/{job}?cursor={base64.urlsafe_b64encode(cursor).decode().rstrip('=')}"

    return make


# ---------------------------------------------------------------- measuring


def settings_for(url: str, folder: Path) -> Settings:
    """Make settings with a scratch data folder on a database, without a running Redis."""
    return Settings(
        data_dir=folder,
        database_url=SecretStr(url),
        redis_url=SecretStr(f"unix://{folder / 'no.sock'}"),
        secret_key=SecretStr("a key for measurements only, 32 characters long"),
    )


def sign_in(app: Flask, database: Database, name: str) -> FlaskClient:
    """Return a signed-in test client."""
    with database.write() as db:
        user = db.scalars(select(User).where(User.name == name)).one()
        secret = sessions.begin(db, user, lasts=timedelta(hours=12), address=None, user_agent="")
    client = app.test_client()
    with client.session_transaction() as session:
        session["secret"] = secret
    return client


def measure(url: str, repeats: int, only: str) -> list[Figures]:
    """Send every request to one database."""
    database, clock = Database(url), Clock()
    watch_statements(database, clock)
    upgrade(database)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings_for(url, Path(folder)), database=database)
        status, capacity = app.extensions["pneumoscreen_watch"].status, app.extensions["pneumoscreen"].capacity
        people = {who: sign_in(app, database, name) for who, name in PEOPLE.items()}
        sample = Sample(database)
        for question, askers, make in questions(sample):
            status.seconds = capacity.backlog.seconds = 0.0 if question in {"metrics", "status"} else 1.0
            for who in askers:
                if only in question:
                    found.append(_ask(question, who, people[who], make, clock, repeats))
                    print_row(found[-1])
    database.close()
    return found


def _ask(  # noqa: PLR0917  # one measurement
    question: str, who: str, client: FlaskClient, make: Callable[[], str], clock: Clock, repeats: int
) -> Figures:
    taken: list[tuple[float, float]] = []
    statements = 0
    client.get(make())  # warm-up: compiles templates and connects
    for _ in range(repeats):
        address = make()
        clock.reset()
        began = time.perf_counter()
        answer = client.get(address)
        page = time.perf_counter() - began
        if answer.status_code != 200 and not (answer.status_code == 404 and who != "reader"):
            raise SystemExit(f"{address} as {who} gave {answer.status_code}: {answer.text[:300]}")
        taken.append((1000 * clock.seconds, 1000 * page))
        statements = max(statements, clock.statements)
    columns = [_spread([pair[column] for pair in taken]) for column in (0, 1)]
    return Figures(question, who, *columns[0], *columns[1], statements)


def _spread(values: list[float]) -> tuple[float, float, float]:
    p95 = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return round(statistics.median(values), 1), round(p95, 1), round(max(values), 1)


def print_row(row: Figures) -> None:
    """Print one line while the next is measured."""
    mark = " " if row.is_met else "!"
    figures = f"{row.database_p50:7.1f} {row.database_p95:7.1f} {row.database_max:7.1f}"
    print(f"{mark} {row.question:48} {row.who:7} {figures} | {row.page_p50:7.1f} {row.page_p95:7.1f} {row.statements}")


# ---------------------------------------------------------------- exports


@dataclass(frozen=True)
class Export:
    """The export of all rows."""

    form: str
    rows: int
    seconds: float
    megabytes_before: float
    megabytes_grown: float

    @property
    def rows_a_second(self) -> float:
        """Return the rate of the export."""
        return self.rows / self.seconds


@contextmanager
def gunicorn(url: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run the web under gunicorn with one process; yield its address and that process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = settings_for(url, folder)
    names = {"DATABASE_URL": url, "DATA_DIR": str(folder), "SECRET_KEY": "a key for measurements, 32 characters long"}
    environment = {**os.environ, **{f"PNEUMOSCREEN_{name}": value for name, value in names.items()}}
    environment["PNEUMOSCREEN_REDIS_URL"] = made.redis_url.get_secret_value() if made.redis_url else ""
    command = [sys.executable, "-m", "gunicorn", "web.wsgi:app", "--config", "python:web.server"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "web.http.connections.Worker", "--threads", "4"]
    command += ["--workers", "1", "--timeout", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        (worker,) = psutil.Process(process.pid).children()
        yield address, worker
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            httpx.get(f"{address}/healthz")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"Nothing answered at {address} within 30 s.")


def export(url: str, form: str, order: str = "newest") -> Export:
    """Export every image, discard the stream, and watch the web's memory."""
    database = Database(url)
    with database.write() as db:
        rita = db.scalars(select(User).where(User.name == PEOPLE["reader"])).one()
        token = tokens.make_token(db, rita, "growth", scopes=[Scope.READ])
    database.close()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        address, worker = stack.enter_context(gunicorn(url, Path(folder)))
        headers = {"Authorization": f"Bearer {token}"}
        client = stack.enter_context(httpx.Client(base_url=address, headers=headers, timeout=600))
        client.get("/api/v1/predictions", params={"limit": 500})
        before = largest = worker.memory_info().rss
        lines, chunks, began = 0, 0, time.perf_counter()
        asked = {"format": form, "order": order}
        answer = stack.enter_context(client.stream("GET", "/api/v1/predictions", params=asked))
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            lines, chunks = lines + chunk.count(b"\n"), chunks + 1
            if chunks % 1000 == 0:
                largest = max(largest, worker.memory_info().rss)
        seconds = time.perf_counter() - began
    return Export(f"{form}, {order}", lines - 1, seconds, before / 1e6, (largest - before) / 1e6)


# ---------------------------------------------------------------- all databases


def report(title: str, found: list[Figures], console: Console) -> None:
    """Print the table of one database."""
    table = Table(title=title)
    for name in ("question", "as", "database p50", "p95", "max", "page p50", "p95", "max", "statements", "met"):
        table.add_column(name, justify="left" if name in {"question", "as", "met"} else "right", no_wrap=True)
    for row in found:
        times = (row.database_p50, row.database_p95, row.database_max, row.page_p50, row.page_p95, row.page_max)
        figures = [f"{value:.1f}" for value in times]
        table.add_row(row.question, row.who, *figures, str(row.statements), "yes" if row.is_met else "NO")
    console.print(table)
    met = sum(row.is_met for row in found)
    console.print(f"{met} of {len(found)} meet {DATABASE_MS:.0f} ms in the database and {PAGE_MS:.0f} ms at the page.")


def sizes(url: str) -> dict[str, float]:
    """Return the size in MB of the screenings table and each of its indexes, in PostgreSQL."""
    database = Database(url)
    query = text(
        "SELECT relname, pg_relation_size(oid) / 1e6 FROM pg_class WHERE oid = 'screenings'::regclass "
        "OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'screenings'::regclass) ORDER BY 2 DESC"
    )
    with database.engine.connect() as connection:
        found = {str(name): round(float(size), 1) for name, size in connection.execute(query)}
    database.close()
    return found


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    rows: tuple[int, ...]
    databases: tuple[str, ...] = ("postgresql", "sqlite")
    repeats: int = REPEATS
    only: str = ""
    """Send only requests whose name contains this."""
    with_export: bool = True


def main() -> None:
    """Run the measurements that the arguments name and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="how many images (default: 1,000,000)")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the databases (default: a new one, removed)")
    parser.add_argument("--only", default="", help="ask only questions that hold this")
    parser.add_argument("--databases", nargs="+", choices=("postgresql", "sqlite"), default=["postgresql", "sqlite"])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--export", action="store_true", help="stream all images, too, as CSV")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    if min(given.rows) < FEWEST_WITH_LARGE:
        parser.error(f"--rows takes at least {FEWEST_WITH_LARGE:,}, so that there are large jobs to ask for.")
    asked = Asked(tuple(given.rows), tuple(given.databases), given.repeats, given.only, given.export)
    results = measure_all(asked, given.keep)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


def measure_all(asked: Asked, keep: Path | None = None) -> dict[str, Any]:
    """Measure and print every size on every database; the databases are kept in `keep` where it is given."""
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-growth-") as scratch:
        Path(scratch).chmod(0o755)  # PostgreSQL runs as another user
        return run(asked, (keep or Path(scratch)).resolve(), Console(width=170))


def run(asked: Asked, folder: Path, console: Console) -> dict[str, Any]:
    """Measure every size on every database, stored in a folder."""
    results: dict[str, Any] = {}

    def look(title: str, url: str) -> None:
        found = measure(url, asked.repeats, asked.only)
        report(title, found, console)
        results[title] = {"questions": [asdict(row) for row in found]}
        if asked.with_export:
            done = export(url, "csv")
            results[title]["export"] = {**asdict(done), "rows_a_second": done.rows_a_second}
            console.print(
                f"Export, {done.form}: {done.rows:,} rows, {done.rows_a_second:,.0f} a second; the web had "
                f"{done.megabytes_before:.0f} MB and grew by {done.megabytes_grown:.0f} MB."
            )

    if "postgresql" in asked.databases:
        with postgres(folder) as server:
            for rows in asked.rows:
                url = fill_postgres(server, rows)
                look(f"PostgreSQL, {rows:,} images", url)
                results[f"PostgreSQL, {rows:,} images"]["megabytes"] = sizes(url)
    if "sqlite" in asked.databases:
        rows = min(SQLITE_ROWS, *asked.rows)
        look(f"SQLite, {rows:,} images", fill_sqlite(folder / f"rows_{rows}.db", rows))
    return results


if __name__ == "__main__":
    main()
