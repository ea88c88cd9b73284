"""Progress of a run on standard error: bars on a terminal, an occasional line elsewhere."""

import time
from typing import Final, Protocol, Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from cli.client.answers import Job
from cli.client.upload import Sent
from shared.settings import MIB

SECONDS_BETWEEN_LINES: Final = 5.0


class Speed:
    """The rate of something since this was created."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def rate(self, amount: float) -> float:
        """Return the average per second so far."""
        return amount / max(time.monotonic() - self._began, 1e-3)


class Display(Protocol):
    """Show the progress of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def note(self, message: str) -> None:
        """Show a message once."""

    def sending(self, files: int, size: int) -> None:
        """Start to show the sending of this many files and bytes."""

    def sent(self, sent: Sent) -> None:
        """Show how much was sent."""

    def screened(self, job: Job, expected: int) -> None:
        """Show how many images were screened, of those sent or announced."""


class Silence:
    """Show nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def note(self, message: str) -> None:
        """Show nothing."""

    def sending(self, files: int, size: int) -> None:
        """Show nothing."""

    def sent(self, sent: Sent) -> None:
        """Show nothing."""

    def screened(self, job: Job, expected: int) -> None:
        """Show nothing."""


class Lines(Silence):
    """Write a plain line every few seconds, for logs and pipes."""

    def __init__(self) -> None:
        self._files, self._size = 0, 0
        self._speed = Speed()
        self._said_at = time.monotonic()

    def note(self, message: str) -> None:
        """Write a line at once."""
        click.echo(message, err=True)

    def sending(self, files: int, size: int) -> None:
        """Remember what is to be sent."""
        self._files, self._size, self._speed = files, size, Speed()

    def sent(self, sent: Sent) -> None:
        """Write a line where the last one is old, or at the end."""
        self._say(f"Sent {sending_detail(sent, self._files, self._size, self._speed)}", sent.files == self._files)

    def screened(self, job: Job, expected: int) -> None:
        """Write a line where the last one is old, or at the end."""
        self._say(f"Screened {screening_detail(job, expected)}", job.state == "FINISHED")

    def _say(self, line: str, is_last: bool) -> None:
        if is_last or time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            click.echo(line, err=True)


class Bars(Silence):
    """Draw one bar for sending and one for screening."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:9}"), BarColumn(), TextColumn("{task.fields[detail]}"), console=console
        )
        self._tasks: dict[str, TaskID] = {}
        self._files, self._size = 0, 0
        self._speed = Speed()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, message: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(Text(message))

    def sending(self, files: int, size: int) -> None:
        """Draw the bar for what is to be sent."""
        self._files, self._size, self._speed = files, size, Speed()
        self.sent(Sent())

    def sent(self, sent: Sent) -> None:
        """Advance the bar by bytes: file sizes differ too much."""
        detail = sending_detail(sent, self._files, self._size, self._speed)
        self._draw("Sent", sent.bytes, max(self._size, 1), detail)

    def screened(self, job: Job, expected: int) -> None:
        """Advance the bar by images."""
        self._draw("Screened", job.settled, max(expected, job.total, 1), screening_detail(job, expected))

    def _draw(self, name: str, done: int, total: int, detail: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, detail=detail)
        self._progress.update(self._tasks[name], completed=done, total=total, detail=detail)


def sending_detail(sent: Sent, files: int, size: int, speed: Speed) -> str:
    """Describe how much was sent, how fast, and how long the rest takes at that speed."""
    rate = speed.rate(sent.bytes)
    left = (size - sent.bytes) / rate if rate and sent.files < files else None
    return f"{sent.files:,} of {files:,} files, {rate / MIB:.1f} MiB a second{_left(left)}"


def screening_detail(job: Job, expected: int) -> str:
    """Describe how much was screened, and the server's own figures for speed and time left."""
    rate = f", {job.per_second:,.1f} a second" if job.per_second else ""
    left = job.seconds_left if job.state != "FINISHED" else None
    return f"{job.settled:,} of {max(expected, job.total):,} images{rate}{_left(left)}"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes}:{rest:02d} left"


def choose_display(quiet: bool) -> Display:
    """Choose bars for a terminal, lines otherwise, silence where requested."""
    if quiet:
        return Silence()
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines()
