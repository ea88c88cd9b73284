"""`pneumoscreen serve`: everything on one machine, started and stopped together."""

import fcntl
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from cli.data_folder import (
    LOCK_FILE,
    PRIVATE_UMASK,
    SAMPLES_FOLDER,
    SOCKET_FILE,
    URL_FILE,
    close_to_others,
    make_socket_folder,
    remove_leftovers,
    secret_key,
)
from cli.serving import broker
from cli.serving.limits import allow_files
from cli.serving.processes import (
    STOP_SECONDS,
    Program,
    Supervisor,
    bracketed,
    sweep_command,
    web_command,
    web_environment,
    worker_command,
)
from cli.serving.stopping import StopRequested, StopSignals
from cli.settings import read_settings
from migrations.newest import has_newest
from shared.errors import BrokerAway, PneumoScreenError
from shared.process.cores import usable_cores
from shared.process.logs import configure_logging
from shared.settings import PREFIX, Settings

if TYPE_CHECKING:
    from shared.queue.heartbeats import Heartbeats

START_SECONDS: Final = 600.0
LOOK_SECONDS: Final = 0.05
STEADY_LOOK_SECONDS: Final = 1.0
STILL_SECONDS: Final = 30.0
"""How often to report what is still awaited."""
STARTING_STOP_SECONDS: Final = 3.0
"""Programs still starting are killed after this: a container has 10 s. What was accepted is safe all the same."""
WEB_THREADS: Final = 32
_signals: Final = StopSignals()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of everything kept.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes. Default: one for each core that it may use.")
@click.option("--verbose", is_flag=True, help="Show the log of every part here instead of writing it to files.")
def serve(host: str, port: int, data_dir: Path | None, workers: int | None, verbose: bool) -> None:
    """Start PneumoScreen on this machine: Redis, pages, workers and the sweep. Ctrl-C stops them together."""
    configure_logging(logging.INFO if verbose else logging.WARNING)
    settings = read_settings(data_dir)
    allow_files()
    os.umask(PRIVATE_UMASK)
    try:
        _signals.listen()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with _only_one(settings.data_dir):
            host = host.strip("[]")
            _wait_for_port(host, port, settings.data_dir)
            _close_data_folder(settings.data_dir)
            _serve(settings, host, port, workers or usable_cores(), verbose)
    except OSError as error:
        raise _disk_failed(error, settings.data_dir) from error
    except StopRequested:
        _signals.ignore()
        _say("PneumoScreen has stopped. What was accepted is kept.")


def _say(text: str, *, err: bool = False) -> None:
    """Print a message; a closed terminal or a full disk under redirected output is ignored."""
    try:
        click.echo(text, err=err)
        sys.stdout.flush()
    except OSError as error:
        logging.getLogger(__name__).warning("What was to be said could not be written: %s.", error.strerror)


def _disk_failed(error: OSError, data_dir: Path) -> PneumoScreenError:
    """Say what the disk refused at a start."""
    where = f"{error.filename}: " if error.filename else ""
    return PneumoScreenError(
        f"PneumoScreen cannot start on the data folder {data_dir} ({where}{error.strerror}). It must be a folder that "
        f"this account can write, on a disk with room. Make room, or name another with --data-dir or {PREFIX}DATA_DIR."
    )


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Lock the data folder: two servers on one folder would start two Redis servers on one file."""
    with (data_dir / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PneumoScreenError(f"PneumoScreen is running on {data_dir} already.") from error
        yield


def _wait_for_port(host: str, port: int, data_dir: Path) -> None:
    """Raise PneumoScreenError where a port is taken; after a kill, first give the former programs time to end."""
    until = time.monotonic() + (STOP_SECONDS if (data_dir / SOCKET_FILE).exists() else 0.0)
    while True:
        try:
            return _refuse_taken_port(host, port)
        except PneumoScreenError:
            if time.monotonic() >= until:
                raise
        _signals.wait(LOOK_SECONDS)


def _refuse_taken_port(host: str, port: int) -> None:
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PneumoScreenError(
            f"'{host}' is no address of this machine: {error.strerror}. Give --host an address such as 127.0.0.1, ::1 "
            "or 0.0.0.0."
        ) from error
    family, kind, protocol, _name, place = places[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            raise PneumoScreenError(
                f"Port {port} on {host} cannot be used: {error.strerror}. Choose another: make run PORT={port + 1}"
            ) from error


def _close_data_folder(data_dir: Path) -> None:
    """Remove other accounts' rights to what earlier starts created, and report what could not be closed."""
    closed, left = close_to_others(data_dir)
    if closed:
        _say(f"{data_dir} was open to other accounts of this machine in {len(closed)} places; they are closed.")
    if left:
        _say(f"{left[0]} is open to other accounts of this machine, and this one cannot close it.", err=True)


def _serve(settings: Settings, host: str, port: int, workers: int, verbose: bool) -> None:
    _say("PneumoScreen is starting ...")
    remove_leftovers(settings.data_dir)
    socket_folder = make_socket_folder(settings.data_dir)
    supervisor = Supervisor({}, None if verbose else settings.data_dir / "logs")
    stop_seconds = STARTING_STOP_SECONDS
    try:
        settings = _with_broker(settings, socket_folder, supervisor)
        if not has_newest(settings.database):
            _migrate(settings)
        supervisor.environment = _environment(settings)
        url = f"http://{bracketed(_reachable(host))}:{port}"
        supervisor.start("web", web_command(host, port, WEB_THREADS), environment=web_environment(settings, host))
        supervisor.start("worker", worker_command(workers))
        # Page and first result come sooner if what they do not need loads its libraries afterwards.
        is_good = _wait_until(lambda: _answers(url), supervisor, settings)
        supervisor.start("sweep", sweep_command())
        _announce_pages(url, settings)
        if is_good and _wait_until_worker(supervisor, settings):
            _say(f"PneumoScreen is ready at {url}")
        else:
            _say(f"PneumoScreen shows its pages at {url}, but nothing is screened until that is mended.")
        stop_seconds = STOP_SECONDS
        _watch(supervisor, settings, workers)
    finally:
        _signals.ignore()
        supervisor.stop(stop_seconds)
        _clean_up(settings.data_dir, socket_folder)


def _watch(supervisor: Supervisor, settings: Settings, workers: int) -> None:
    """Keep everything running until a signal ends it."""
    from cli.serving.pools import Pools

    pools = Pools(supervisor, settings, workers)
    try:
        while True:
            _report(supervisor)
            pools.look()
            _signals.wait(STEADY_LOOK_SECONDS)
    finally:
        pools.close()


def _clean_up(data_dir: Path, socket_folder: Path) -> None:
    """Remove the files of a running server; those that a missing disk keeps are removed at the next start."""
    shutil.rmtree(socket_folder, ignore_errors=True)
    try:
        for name in (URL_FILE, SOCKET_FILE):
            (data_dir / name).unlink(missing_ok=True)
    except OSError as error:
        _say(f"The data folder {data_dir} could not be tidied: {error.strerror}.", err=True)


def _reachable(host: str) -> str:
    """Return an address of this machine for a server that listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound


def _with_broker(settings: Settings, socket_folder: Path, supervisor: Supervisor) -> Settings:
    """Start the embedded Redis unless the settings name one."""
    if "redis_url" in settings.model_fields_set:
        return settings
    redis = broker.EmbeddedRedis(settings.data_dir / "redis", socket_folder)
    program = supervisor.start("redis", redis.command(), ask=redis.ask, before_start=redis.before_start)
    _wait_for_redis(redis, program, supervisor)
    return settings.model_copy(update={"redis_url": SecretStr(f"unix://{redis.place}")})


def _wait_for_redis(redis: broker.EmbeddedRedis, program: Program, supervisor: Supervisor) -> None:
    """Wait until Redis answers; if it exits over its stored file, start it empty, since rows are the truth."""
    try:
        redis.wait_until_ready(program)
    except broker.NoRedis:
        aside = redis.set_aside() if not program.is_running else None
        if aside is None:
            raise
        supervisor.start_again(program)
        redis.wait_until_ready(program)
        _say(f"Redis could not read what it had kept and starts empty. No image is lost. The former files: {aside}")


def _migrate(settings: Settings) -> None:
    """Migrate the database to the newest schema."""
    from cli.database import refusals_in_words
    from migrations.schema import upgrade
    from shared.db import Database

    with refusals_in_words():
        database = Database(settings.database)
        try:
            upgrade(database)
        finally:
            database.close()


def _prepare_first_use(settings: Settings) -> str | None:
    """Create what a first use needs, and return the one-time sign-in secret that a first start prints."""
    from cli.database import refusals_in_words
    from cli.serving import first_start
    from shared.db import Database

    try:
        first_start.keep_samples(settings.data_dir)
    except OSError as error:  # no one's images depend on samples
        _say(f"The sample images could not be written: {error}.", err=True)
    with refusals_in_words():
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
    """Wait for a worker without limit, because the pages answer; False where it has refused to start."""
    from shared.queue.heartbeats import Heartbeats

    heartbeats = Heartbeats(settings)
    try:
        return _wait_until(
            lambda: _has_worker(heartbeats), supervisor, settings, "the workers load the network", is_endless=True
        )
    finally:
        heartbeats.close()


def _wait_until(
    is_so: Callable[[], bool],
    supervisor: Supervisor,
    settings: Settings,
    what: str = "the pages",
    *,
    is_endless: bool = False,
) -> bool:
    """Wait for a condition, reporting now and then what for; False where a program has refused to start."""
    began = told = time.monotonic()
    while is_endless or time.monotonic() - began < START_SECONDS:
        if is_so():
            return True
        if _report(supervisor):
            return False
        if time.monotonic() - told >= STILL_SECONDS:
            told = time.monotonic()
            _say(f"Still starting after {told - began:.0f} s: {what}.")
        _signals.wait(LOOK_SECONDS)
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


def _has_worker(heartbeats: "Heartbeats") -> bool:
    try:
        return bool(heartbeats.workers())
    except BrokerAway:
        return False


def _report(supervisor: Supervisor) -> bool:
    """Restart what exited; True where a program refused to start, after reporting it."""
    refused = supervisor.watch()
    for program in refused:
        where = "above" if supervisor.log_folder is None else supervisor.log_folder / f"{program.name}.log"
        _say(f"The {program.name} refused to start; see {where}.", err=True)
    return bool(refused)


def _announce_pages(url: str, settings: Settings) -> None:
    """Print the address of the pages once they answer, and how to sign in for the first time."""
    _say(f"The pages are at {url}")
    secret = _prepare_first_use(settings)
    (settings.data_dir / URL_FILE).write_text(url)
    if secret is not None:
        _say(f"Sign in once with this link: {url}/sign-in/link/{secret}")
        _say("It is valid for a day. Set a password on the page that follows, and no link is printed again.")
    _say(f"Everything is kept in {settings.data_dir.resolve()}. Ctrl-C stops it.")
    _say("Still starting: the workers load the network. Images that are sent meanwhile wait for them.")
