"""The single programs of a multi-machine installation: `migrate`, `web`, `worker` and `sweep`.

Each replaces this process by the program itself, so that a container's signals reach it.
"""

import os
import socket
from typing import NoReturn

import click

from cli.data_folder import PRIVATE_UMASK
from cli.errors import CommandFailed
from cli.serving.limits import allow_files
from cli.serving.processes import sweep_command, web_command, web_environment, worker_command
from cli.settings import read_settings
from shared.process.cores import usable_cores
from shared.settings import NO_SECRET_KEY


@click.command()
def migrate() -> None:
    """Migrate the database to the newest schema; run it once before a new version starts."""
    from cli.database import refusals_in_words
    from migrations.schema import current, upgrade
    from shared.db import Database

    settings = read_settings()
    os.umask(PRIVATE_UMASK)
    with refusals_in_words():
        database = Database(settings.database)
        try:
            upgrade(database)
            click.echo(f"The database is at schema {current(database)}.")
        finally:
            database.close()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--threads", default=32, show_default=True, type=click.IntRange(1), help="Requests answered at once.")
def web(host: str, port: int, threads: int) -> None:
    """Serve the pages and the API."""
    allow_files()
    host = host.strip("[]")
    settings = read_settings()
    if settings.secret_key is None:
        raise CommandFailed(NO_SECRET_KEY)
    os.environ.update(web_environment(settings, host))
    _become(web_command(host, port, threads))


@click.command()
@click.option(
    "--processes", type=click.IntRange(1), help="Worker processes. Default: one for each core that it may use."
)
@click.option("--check", is_flag=True, help="Only tell whether a worker process here is alive: exit 0 or 1.")
@click.option("--ready", is_flag=True, help="Only tell whether a worker here is ready, as Redis has it: exit 0 or 1.")
def worker(processes: int | None, check: bool, ready: bool) -> None:
    """Screen images: claim, decode, predict, write.

    --check is for liveness probes and checks only this machine; --ready is for readiness probes.
    """
    if check:
        _check_alive()
    if ready:
        _check_ready()
    read_settings()
    _become(worker_command(processes or usable_cores()))


@click.command()
def sweep() -> None:
    """Free images whose worker was lost, and send tickets for images that wait without one."""
    read_settings()
    _become(sweep_command())


def _check_alive() -> NoReturn:
    from shared.process.liveness import live_processes, liveness_folder

    try:
        alive = live_processes(liveness_folder())
    except OSError as error:
        raise click.ClickException(f"It cannot be found out: {error}.") from error
    click.echo(f"{len(alive)} worker processes of this machine are alive.")
    raise SystemExit(0 if alive else 1)


def _check_ready() -> NoReturn:
    from shared.errors import BrokerAway
    from shared.queue.heartbeats import Heartbeats

    heartbeats = Heartbeats(read_settings())
    try:
        names = heartbeats.workers()
    except BrokerAway as error:
        raise click.ClickException(str(error)) from error
    here = [name for name in names if name.startswith(f"{socket.gethostname()}:")]
    click.echo(f"{len(here)} worker processes of this machine are ready.")
    raise SystemExit(0 if here else 1)


def _become(command: list[str]) -> NoReturn:
    os.umask(PRIVATE_UMASK)
    allow_files()
    os.execv(command[0], command)  # noqa: S606  # the command is made in cli.serving.processes
