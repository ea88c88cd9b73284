"""Start the real programs as a user does, but with fault injection, and give handles to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil
from redis import Redis
from redis.exceptions import RedisError

from chaos.bucket import Bucket
from chaos.disk import Disk
from chaos.errors import ChaosFailed
from chaos.hurt_serve import PORT_VARIABLE, START_SECONDS
from chaos.injector import FOLDER_VARIABLE, IMAGE_SECONDS_VARIABLE
from chaos.postgres import Postgres
from chaos.waiting import free_port, wait_until
from cli.data_folder import TOKEN_FILE
from shared.db import Database
from shared.settings import PREFIX

Kind = Literal["embedded", "postgres"]

STOP_SECONDS: Final = 90.0
BATCH_SIZE: Final = 8
WORKERS: Final = 2


@dataclass(frozen=True)
class Timing:
    """The stack's timing, in seconds."""

    lease: float
    sweep: float
    image: float
    """The least time a worker takes for an image, so that a backlog of small ones outlasts the faults."""


@dataclass
class Stack:
    """One running installation."""

    kind: Kind
    timing: Timing
    folder: Path
    data_disk: Disk
    store_disk: Disk
    postgres: Postgres | None
    bucket: Bucket | None
    """The image store, if it is not a folder."""
    port: int
    process: "subprocess.Popen[bytes]"
    database: Database
    redis_url: str = ""
    """Where the programs reach Redis; known once they run."""

    @property
    def url(self) -> str:
        """Return the address of the pages and the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """Return the data folder of the installation."""
        return self.data_disk.folder / "data"

    @property
    def store_dir(self) -> Path:
        """Return the folder of its image store."""
        return self.store_disk.folder / "store"

    @property
    def token(self) -> str:
        """Return the key to its API."""
        return (self.data_dir / TOKEN_FILE).read_text()

    # ------------------------------------------------------------ orders

    def order(self, name: str, content: str = "") -> None:
        """Write an order for the programs, atomically."""
        place = self.folder / "orders" / name
        unfinished = place.with_suffix(".unfinished")
        unfinished.write_text(content)
        unfinished.replace(place)

    def withdraw(self, name: str) -> None:
        """Withdraw an order."""
        (self.folder / "orders" / name).unlink(missing_ok=True)

    def wait_until_taken(self, name: str, seconds: float) -> None:
        """Wait until a process has taken an order; raise ChaosFailed where none does."""
        wait_until(lambda: not (self.folder / "orders" / name).exists(), seconds, f"the order '{name}' to be taken")

    # ------------------------------------------------------------ programs

    def program(self, word: str) -> psutil.Process:
        """Return the supervised program whose command contains a word; wait while it is being restarted."""
        found: list[psutil.Process] = []

        def look() -> bool:
            found[:] = [child for child in psutil.Process(self.process.pid).children() if _has_word(child, word)]
            return bool(found)

        wait_until(look, START_SECONDS, f"the program '{word}' to run")
        return found[0]

    def web(self) -> psutil.Process:
        """Return gunicorn's master process."""
        return self.program("chaos.hurt_web:app")

    def worker(self) -> psutil.Process:
        """Return Celery's main process; its children hold the networks."""
        return self.program("chaos.hurt_worker")

    def sweep(self) -> psutil.Process:
        """Return the sweep."""
        return self.program("chaos.hurt_sweep")

    def redis_server(self) -> psutil.Process:
        """Return the Redis server."""
        return self.program("redis-server")

    def redis(self) -> Redis:
        """Connect to the stack's Redis, at the same address as its programs."""
        return Redis.from_url(self.redis_url, socket_timeout=15, decode_responses=True)

    def wait_for_redis(self) -> None:
        """Wait until Redis answers."""

        def answers() -> bool:
            try:
                with self.redis() as redis:
                    return bool(redis.ping())
            except RedisError:
                return False

        wait_until(answers, START_SECONDS, "Redis to answer")

    def logs(self) -> str:
        """Return the ends of all logs, to explain a failure."""
        paths = [self.folder / "serve.log", *sorted((self.data_dir / "logs").glob("*.log"))]
        ends = (path.read_text(errors="replace").splitlines()[-25:] for path in paths if path.exists())
        return "\n".join("\n".join([f"--- {path.name}", *lines]) for path, lines in zip(paths, ends, strict=False))


def _has_word(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except psutil.Error:
        # It exited after it was listed.
        return False


@contextmanager
def running(kind: Kind, folder: Path, timing: Timing) -> Iterator[Stack]:
    """Start a stack in an empty folder, yield it when it is ready, and stop it."""
    (folder / "orders").mkdir()
    with ExitStack() as cleanup:
        data_disk, store_disk = Disk(folder / "data-disk"), Disk(folder / "store-disk")
        for disk in (data_disk, store_disk):
            cleanup.callback(disk.remove)
        postgres = Postgres(folder) if kind == "postgres" else None
        if postgres is not None:
            cleanup.callback(postgres.stop)
        bucket = Bucket() if kind == "postgres" else None
        if bucket is not None:
            cleanup.callback(bucket.stop)
        port = free_port()
        data_dir = data_disk.folder / "data"
        database = Database(postgres.url if postgres else f"sqlite:///{data_dir / 'pneumoscreen.db'}")
        cleanup.callback(database.close)
        process = _serve(folder, port, data_dir, _environment(folder, timing, store_disk, postgres, bucket))
        cleanup.callback(_stop, process)
        stack = Stack(kind, timing, folder, data_disk, store_disk, postgres, bucket, port, process, database)
        _wait_until_ready(stack)
        stack.redis_url = stack.web().environ()[f"{PREFIX}REDIS_URL"]
        yield stack


def _environment(
    folder: Path, timing: Timing, store_disk: Disk, postgres: Postgres | None, bucket: Bucket | None
) -> dict[str, str]:
    graphs = f"{PREFIX}GRAPHS_DIR"  # only the first start needs Keras
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name == graphs}
    over_tcp = {f"{PREFIX}DATABASE_URL": postgres.url, PORT_VARIABLE: str(free_port())} if postgres is not None else {}
    return {
        **kept,
        **over_tcp,
        **(bucket.environment if bucket is not None else {}),
        f"{PREFIX}STORE_DIR": str(store_disk.folder / "store"),
        f"{PREFIX}LEASE_SECONDS": str(timing.lease),
        f"{PREFIX}SWEEP_SECONDS": str(timing.sweep),
        f"{PREFIX}BATCH_SIZE": str(BATCH_SIZE),
        f"{PREFIX}GATE_IGNORES": "all",  # the images are synthetic
        f"{PREFIX}UPLOAD_LIMIT": "100000 per minute",
        # Without the reserve that refuses uploads early, so that the disk becomes full in mid-upload.
        f"{PREFIX}MIN_FREE_BYTES": "0",
        FOLDER_VARIABLE: str(folder / "orders"),
        IMAGE_SECONDS_VARIABLE: str(timing.image),
    }


def _serve(folder: Path, port: int, data_dir: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "chaos.hurt_serve", "--port", str(port), "--data-dir", str(data_dir)]
    with (folder / "serve.log").open("wb") as log:
        return subprocess.Popen(  # the command is made here
            [*command, "--workers", str(WORKERS)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_until_ready(stack: Stack) -> None:
    log = stack.folder / "serve.log"
    wait_until(
        lambda: "PneumoScreen is ready" in log.read_text() or stack.process.poll() is not None,
        START_SECONDS,
        "the stack to be ready",
    )
    if stack.process.poll() is not None:
        raise ChaosFailed(f"The stack did not start.\n{stack.logs()}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        everyone = psutil.Process(process.pid).children(recursive=True)
        for one in [*everyone, psutil.Process(process.pid)]:
            one.kill()
        process.wait()
