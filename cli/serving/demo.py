"""`pneumoscreen demo`: an end-to-end demonstration on this machine with temporary data."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from cli.client.address import find_token
from cli.client.client import Api
from cli.client.images import LocalFile, Unreadable, collect
from cli.client.progress import choose_display
from cli.client.results import check_output, write_results
from cli.client.results_table import show
from cli.client.screen import Run
from cli.errors import CommandFailed
from cli.report import make_console
from shared.columns import Result
from shared.images.samples import write_samples
from shared.settings import PREFIX
from shared.states import State

START_SECONDS: Final = 150.0
"""`serve` itself gives up after 120 s."""
STOP_SECONDS: Final = 120.0
STALL_SECONDS: Final = 120.0
RETRY_SECONDS: Final = 30.0
LOG_LINES: Final = 30

# A demonstration must not write into a real installation, so only these settings are passed to its server.
_KEPT: Final = {f"{PREFIX}{name}" for name in ("MODEL", "MODELS_DIR", "BACKEND", "BATCH_SIZE")}
_READY: Final = re.compile(r"^PneumoScreen is ready at (http://\S+)$", re.MULTILINE)
_NOT_READY: Final = re.compile(r"nothing is screened", re.MULTILINE)


@click.command()
@click.option("--images", type=click.Path(exists=True), help="Folder, file or ZIP to screen instead of the samples.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write all rows to this .csv or .json file.")
def demo(images: str | None, output: Path | None) -> None:
    """Start a temporary server with its own data, screen images through its API, print the results, stop.

    The samples are synthetic images that come with the program. Exit status 0 where every file has an outcome.
    """
    if output is not None:
        check_output(output)
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-demo-") as folder:
        results, seconds = _screen(Path(folder), images)
    if output is not None:
        write_results(results, output)
    show(results, make_console())
    click.echo(f"{len(results):,} images in {seconds:.1f} s, {len(results) / seconds:,.1f} a second.")
    raise SystemExit(0 if all(has_outcome(result, images is None) for result in results) else 1)


def has_outcome(result: Result, is_sample: bool) -> bool:
    """Tell whether a file has its expected outcome: screened, or, if it is no image, rejected. A sample is an image."""
    return result.state == State.DONE or (result.state == State.REJECTED and not is_sample)


def _screen(folder: Path, images: str | None) -> tuple[list[Result], float]:
    """Screen in a temporary server; return the results and the seconds they took."""
    files = _samples(folder / "samples") if images is None else collect([images])
    if not files:
        raise CommandFailed(f"There are no files in {images}.")
    data_dir = folder / "data"
    click.echo("Starting PneumoScreen ...", err=True)
    with running_server(data_dir) as url:
        display = choose_display(quiet=False)
        with Api(url, find_token(url, None, data_dir), retry_seconds=RETRY_SECONDS, note=display.note) as api, display:
            began = time.monotonic()
            results = Run(api, display, stall_limit=STALL_SECONDS).screen(files, name="Demonstration")
            return results, time.monotonic() - began


def _samples(folder: Path) -> list[LocalFile | Unreadable]:
    """Draw the samples; they have bare names, because their folder is gone when somebody reads the table."""
    write_samples(folder)
    found = collect([str(folder)])
    return [replace(file, name=file.path.name) if isinstance(file, LocalFile) else file for file in found]


@contextmanager
def running_server(data_dir: Path) -> Iterator[str]:
    """Start `serve` on a free port, yield its address when it is ready, and stop it; show its log if it fails."""
    data_dir.mkdir()
    log = data_dir.with_name("serve.log")
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603  # the command is made here
            serve_command(_free_port(), data_dir),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield _wait_until_ready(server, log)
    except CommandFailed:
        _print_tails([log, *sorted((data_dir / "logs").glob("*.log"))])
        raise
    finally:
        _stop(server)


def serve_command(port: int, data_dir: Path) -> list[str]:
    """Return the command that starts a server."""
    return [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--data-dir", str(data_dir)]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name in _KEPT}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        ended = server.poll()
        text = log.read_text(errors="replace")
        if found := _READY.search(text):
            return found[1]
        if ended is not None:
            raise CommandFailed(f"The server ended with status {ended} before it was ready.")
        if _NOT_READY.search(text):
            raise CommandFailed("The server started, but no worker did.")
        time.sleep(0.1)
    raise CommandFailed(f"The server was not ready within {START_SECONDS:.0f} s.")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """Ask the server to stop; if it does not, kill its process group."""
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        click.echo(f"The server did not stop within {STOP_SECONDS:.0f} s and was killed.", err=True)


def _print_tails(logs: Sequence[Path]) -> None:
    for log in logs:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        click.echo(f"--- the last lines of {log.name}", err=True)
        click.echo("\n".join(lines), err=True)
