"""`pneumoscreen serve`: everything on one machine, started and stopped together."""

import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from cli import broker
from cli.datafolder import LOCK_FILE, SAMPLES_FOLDER, URL_FILE, secret_key
from cli.processes import Supervisor, host_setting, sweep_command, web_command, worker_command
from migrations.newest import has_newest
from shared.errors import BrokerAway, PneumoScreenError
from shared.logs import configure_logging
from shared.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from shared.presence import Presence

START_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.05
WEB_THREADS: Final = 32


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of everything kept.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes. Default: one for each core.")
@click.option("--verbose", is_flag=True, help="Show the log of every part here instead of writing it to files.")
def serve(host: str, port: int, data_dir: Path | None, workers: int | None, verbose: bool) -> None:
    """Start PneumoScreen on this machine: Redis, pages, workers and the sweep. Ctrl-C stops them together."""
    configure_logging(logging.INFO if verbose else logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        with _only_one(settings.data_dir):
            _refuse_taken_port(host, port)
            _serve(settings, host, port, workers or os.cpu_count() or 1, verbose)
    except KeyboardInterrupt:
        click.echo("PneumoScreen has stopped. What was accepted is kept.")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: two servers on one folder would start two Redis servers on one file."""
    with (data_dir / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PneumoScreenError(f"PneumoScreen is running on {data_dir} already.") from error
        yield


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PneumoScreenError(
                f"Port {port} on {host} cannot be used: {error.strerror}. Choose another: make run PORT={port + 1}"
            ) from error


def _serve(settings: Settings, host: str, port: int, workers: int, verbose: bool) -> None:
    # A socket's path has at most 107 characters (unix(7)), so it does not stand in the data folder.
    run_folder = Path(tempfile.mkdtemp(prefix="pneumoscreen-"))
    supervisor = Supervisor({}, None if verbose else settings.data_dir / "logs")
    try:
        settings = _with_broker(settings, run_folder, supervisor)
        if not has_newest(settings.database):
            _migrate(settings)
        supervisor.environment = _environment(settings) | host_setting(settings, host)
        url = f"http://{_reachable(host)}:{port}"
        supervisor.start("web", web_command(host, port, WEB_THREADS))
        supervisor.start("worker", worker_command(workers))
        # Page and first result come sooner where what they do not need loads its libraries after them.
        ready = _wait_until(lambda: _answers(url), supervisor, settings)
        supervisor.start("sweep", sweep_command())
        secret = _prepare_first_use(settings)
        (settings.data_dir / URL_FILE).write_text(url)
        _announce(ready and _wait_until_worker(supervisor, settings), url, secret, settings)
        while True:
            _report(supervisor)
            time.sleep(1.0)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        supervisor.stop()
        (settings.data_dir / URL_FILE).unlink(missing_ok=True)
        shutil.rmtree(run_folder, ignore_errors=True)


def _reachable(host: str) -> str:
    """Return an address of this machine for a server that listens on all of them."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  # compared, not bound


def _with_broker(settings: Settings, run_folder: Path, supervisor: Supervisor) -> Settings:
    """Start the embedded Redis unless the settings name one."""
    if "redis_url" in settings.model_fields_set:
        return settings
    place = run_folder / "redis.sock"
    kept = settings.data_dir / "redis"
    kept.mkdir(exist_ok=True)
    program = supervisor.start("redis", broker.command(broker.find_server(), kept.resolve(), place))
    if program.process is not None:
        broker.wait_until_ready(place, program.process)
    return settings.model_copy(update={"redis_url": SecretStr(f"unix://{place}")})


def _migrate(settings: Settings) -> None:
    """Bring the database to the newest schema."""
    from migrations.schema import upgrade
    from shared.db import Database

    database = Database(settings.database)
    try:
        upgrade(database)
    finally:
        database.close()


def _prepare_first_use(settings: Settings) -> str | None:
    """Make what is missing for a first use, and return the one-time sign-in secret that a first start prints."""
    from cli import first_start
    from shared.db import Database

    first_start.keep_samples(settings.data_dir)
    database = Database(settings.database)
    try:
        first_start.keep_local_token(database, settings.data_dir)
        return first_start.sign_in_secret(database)
    finally:
        database.close()


def _environment(settings: Settings) -> dict[str, str]:
    key = settings.secret_key.get_secret_value() if settings.secret_key else secret_key(settings.data_dir)
    return {
        f"{PREFIX}DATA_DIR": str(settings.data_dir.resolve()),
        f"{PREFIX}REDIS_URL": settings.redis_url.get_secret_value(),
        f"{PREFIX}SECRET_KEY": key,
        f"{PREFIX}SAMPLES_DIR": str((settings.samples_dir or settings.data_dir / SAMPLES_FOLDER).resolve()),
    }


def _wait_until_worker(supervisor: Supervisor, settings: Settings) -> bool:
    """Wait for a worker; False where it has refused to start."""
    from shared.presence import Presence

    presence = Presence(settings)
    try:
        return _wait_until(lambda: _has_worker(presence), supervisor, settings)
    finally:
        presence.close()


def _wait_until(is_so: Callable[[], bool], supervisor: Supervisor, settings: Settings) -> bool:
    """Wait until something is so; False where a program has refused to start meanwhile."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if is_so():
            return True
        if _report(supervisor):
            return False
        time.sleep(LOOK_SECONDS)
    logs = settings.data_dir / "logs"
    raise PneumoScreenError(f"PneumoScreen did not start within {START_SECONDS:.0f} s. See {logs}.")


def _answers(url: str) -> bool:
    place = urlsplit(url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _has_worker(presence: "Presence") -> bool:
    try:
        return bool(presence.workers())
    except BrokerAway:
        return False


def _report(supervisor: Supervisor) -> bool:
    """Restart what died; True where a program was given up, after saying so."""
    given_up = supervisor.watch()
    for program in given_up:
        where = "above" if supervisor.log_folder is None else supervisor.log_folder / f"{program.name}.log"
        click.echo(f"The {program.name} refused to start; see {where}.", err=True)
    return bool(given_up)


def _announce(ready: bool, url: str, secret: str | None, settings: Settings) -> None:
    if ready:
        click.echo(f"PneumoScreen is ready at {url}")
    else:
        click.echo(f"PneumoScreen shows its pages at {url}, but nothing is screened until that is mended.")
    if secret is not None:
        click.echo(f"Sign in once with this link: {url}/sign-in/link/{secret}")
        click.echo("It is valid for a day. Set a password on the page that follows, and no link is printed again.")
    click.echo(f"Everything is kept in {settings.data_dir.resolve()}. Ctrl-C stops it.")
    sys.stdout.flush()
