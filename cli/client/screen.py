"""`pneumoscreen screen`: images in, results out, through the HTTP API."""

import shlex
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli.client.address import DEFAULT_URL, find_token, read_url, served_url
from cli.client.backoff import RETRY_SECONDS
from cli.client.client import Api
from cli.client.images import LocalFile, Unreadable, collect
from cli.client.progress import Display, choose_display
from cli.client.results import account, check_output, write_results
from cli.client.results_table import show
from cli.client.upload import Sent, Upload
from cli.errors import CommandFailed
from cli.options import NumberWithin
from cli.report import make_console, printable
from shared.columns import Result
from shared.states import FINAL_STATES, State

FINISHED: Final = "FINISHED"
RECEIVING: Final = "RECEIVING"
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as in shells: 128 plus the signal's number."""

_FIRST_POLL, _LONGEST_POLL = 0.1, 2.0
_LOOK_SECONDS: Final = 1.0
_STALL_SECONDS: Final = 60.0


@dataclass
class Run:
    """One run of the command: its connection, and its job once there is one."""

    api: Api
    display: Display
    job_id: str | None = None
    """Set once the job is known to exist."""
    stall_limit: float | None = None
    """Seconds without progress after which to give up; None means never."""
    model: str | None = None
    """The model to screen a new job; None for the server's default."""

    def screen(
        self, files: Sequence[LocalFile | Unreadable], *, name: str, job_id: str | None = None, wait: bool = True
    ) -> list[Result]:
        """Send files into a new job, or continue the one given, and return a result for each."""
        local = [file for file in files if isinstance(file, LocalFile)]
        if not local:
            return account(files, {}, {}, [])
        known = list(self.api.rows(job_id)) if job_id else None
        self.job_id = job_id = job_id or self._open(name, local)
        upload = Upload(self.api, job_id, known, self._watch(job_id, len(local)))
        self.display.sending(len(local), sum(file.size for file in local))
        upload.send(local)
        _say_left_out(self.display, upload.left_out)
        self.api.close_job(job_id)
        if wait:
            self.wait(job_id)
        return account(files, upload.spans, upload.lost, list(self.api.rows(job_id)))

    def fetch(self, job_id: str, *, wait: bool) -> list[Result]:
        """Wait for a job sent earlier and return its results under the server's names."""
        job = self.api.job(job_id)
        self.job_id = job_id
        if wait and job.state == RECEIVING:
            raise CommandFailed(
                f"Job {job_id} still takes images: its upload has not ended. Give the same PATHs again with --job to "
                "send the rest, end it with --cancel, or see what there is with --no-wait."
            )
        if wait:
            self.wait(job_id)
        return account([], {}, {}, list(self.api.rows(job_id)))

    def _open(self, name: str, local: Sequence[LocalFile]) -> str:
        # How many images a ZIP holds is unknown before the server has looked.
        expected = None if any(file.is_zip for file in local) else len(local)
        job_id = self.api.open_job(name, expected, uuid.uuid4().hex, self.model)
        self.display.note(f"Job {job_id}: {self.api.url}/jobs/{job_id}")
        return job_id

    def _watch(self, job_id: str, expected: int) -> Callable[[Sent], None]:
        """Return a callback that shows what was sent and, between requests, what was screened of it already."""
        looked_at, files = time.monotonic(), 0

        def report(sent: Sent) -> None:
            nonlocal looked_at, files
            self.display.sent(sent)
            if sent.files > files and time.monotonic() - looked_at > _LOOK_SECONDS:
                self.display.screened(self.api.job(job_id), expected)
                looked_at, files = time.monotonic(), sent.files

        return report

    def wait(self, job_id: str) -> None:
        """Poll a job until it is FINISHED, at first often, then less so."""
        delay, settled, moved_at, said = _FIRST_POLL, -1, time.monotonic(), False
        while (job := self.api.job(job_id)).state != FINISHED:
            self.display.screened(job, job.total)
            if job.settled != settled:
                settled, moved_at, said = job.settled, time.monotonic(), False
            stalled = time.monotonic() - moved_at
            if self.stall_limit is not None and stalled > self.stall_limit:
                raise CommandFailed(
                    f"No image was screened for {stalled:.0f} s; {job.settled} of {job.total} are done."
                )
            if stalled > _STALL_SECONDS and not said:
                said = True
                self.display.note(
                    f"No image was screened for {stalled:.0f} s. Is a worker running? See {self.api.url}/readyz. "
                    "Waiting on; Ctrl-C stops the waiting and loses nothing."
                )
            time.sleep(delay)
            delay = min(delay * 1.5, _LONGEST_POLL)
        self.display.screened(job, job.total)


@dataclass(frozen=True)
class Options:
    """The options that the user gave."""

    paths: Sequence[str]
    name: str
    job_id: str | None
    cancel: bool
    wait: bool


def job_name(paths: Sequence[str]) -> str:
    """Name a job after the paths given."""
    first = Path(paths[0]).resolve().name or paths[0]
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"


def exit_status(results: Sequence[Result], waited: bool) -> int:
    """Return 0 where every file is DONE or, without waiting, none has failed so far."""
    failed = [r for r in results if r.state != State.DONE and (waited or r.state in FINAL_STATES)]
    return 1 if failed else 0


@click.command(context_settings={"show_default": True})
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path(exists=True))
@click.option("--url", envvar="PNEUMOSCREEN_URL", help="Address. Default: the server on the data folder.")
@click.option("--token", envvar="PNEUMOSCREEN_TOKEN", help="API token. Better given as PNEUMOSCREEN_TOKEN.")
@click.option(
    "--data-dir", envvar="PNEUMOSCREEN_DATA_DIR", default="var", type=click.Path(path_type=Path),
    help="Data folder of a server on this machine, to read its address and token.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write all rows to this .csv or .json file.")
@click.option("--name", help="Name of the job. Default: that of the first PATH.")
@click.option("--model", help="Model to screen the images with. Default: the server's.")
@click.option(
    "--job", "job_id", type=click.UUID,
    help="Continue this job: wait for it, or send the rest of PATHs; what it holds by then is not added again.",
)  # fmt: skip
@click.option("--cancel", is_flag=True, help="With --job: cancel what has not been screened.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the images to be screened.")
@click.option(
    "--retry-seconds", default=RETRY_SECONDS, type=NumberWithin(min=0), help="Seconds to wait for a lost server."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def screen(
    *, paths: tuple[str, ...], url: str | None, token: str | None, data_dir: Path, output: Path | None,
    name: str | None, model: str | None, job_id: uuid.UUID | None, cancel: bool, no_wait: bool, retry_seconds: float,
    quiet: bool,
) -> None:  # fmt: skip
    """Screen images: files, folders and ZIPs.

    Prints a table; -o writes every row. Exit status: 0 all DONE, 1 some not, 2 wrong use or a server error.
    """
    if not paths and job_id is None:
        raise click.UsageError("Give a PATH to screen, or --job to go on with a job.")
    if cancel and (job_id is None or paths):
        raise click.UsageError("--cancel goes with --job and without PATH.")
    if model is not None and job_id is not None:
        raise click.UsageError("--model goes with a new job; a job keeps the model that it was opened with.")
    if output is not None:
        check_output(output)
    url = read_url(url or served_url(data_dir) or _default_url(token, data_dir))
    display = choose_display(quiet)
    with Api(url, find_token(url, token, data_dir), retry_seconds=retry_seconds, note=display.note) as api:
        options = Options(paths, name or "", str(job_id) if job_id else None, cancel, wait=not no_wait)
        results = _guarded(Run(api, display, model=model), options)
    if output is not None:
        write_results(results, output)
    if not quiet:
        show(results, make_console())
    if output is not None and not quiet:
        click.echo(f"Wrote {len(results):,} row{'' if len(results) == 1 else 's'} to {output}.", err=True)
    raise SystemExit(exit_status(results, waited=not no_wait))


def _default_url(token: str | None, data_dir: Path) -> str:
    """Return the default address if a token is given; raise CommandFailed where no server is known."""
    if token is None:
        raise CommandFailed(
            f"There is no server here: none runs on the data folder {data_dir}. Name the folder of the one that runs "
            "with --data-dir, or its address with --url, or start one with 'pneumoscreen serve'."
        )
    return DEFAULT_URL


def _guarded(run: Run, options: Options) -> list[Result]:
    """Run; on an interruption, print how to continue with the job."""
    try:
        with run.display:
            return _run(run, options)
    except KeyboardInterrupt:
        click.echo(f"Stopped.{_way_on(run, options)}", err=True)
        raise SystemExit(INTERRUPTED) from None
    except CommandFailed as error:
        raise CommandFailed(error.message + _way_on(run, options)) from error


def _run(run: Run, options: Options) -> list[Result]:
    run.api.check()
    if options.cancel and options.job_id is not None:
        run.display.note(f"Cancelled {run.api.cancel(options.job_id)} images of job {options.job_id}.")
    if not options.paths and options.job_id is not None:
        return run.fetch(options.job_id, wait=options.wait and not options.cancel)
    left_out: Counter[str] = Counter()
    files = collect(options.paths, left_out)
    _say_left_out(run.display, left_out)
    if not files:
        raise CommandFailed(f"There are no files in {', '.join(options.paths)}.")
    return run.screen(files, name=options.name or job_name(options.paths), job_id=options.job_id, wait=options.wait)


def _say_left_out(display: Display, counts: Counter[str]) -> None:
    for reason, count in sorted(counts.items()):
        display.note(f"Left out {count:,} {'file' if count == 1 else 'files'} {reason}: no images.")


def _way_on(run: Run, options: Options) -> str:
    if run.job_id is None:
        return ""
    command = f"pneumoscreen screen --url {run.api.url} --job {run.job_id}"
    again = "".join(f" {shlex.quote(printable(path))}" for path in options.paths)
    return (
        f"\nThe images that were sent are kept in job {run.job_id}.\n"
        f"  go on:   {command}{again}\n"
        f"  cancel:  {command} --cancel"
    )
