"""Measure startup time: until the page answers, and until a first image's result can be read.

`python -m benchmarks.startup` starts PneumoScreen on a data folder that it has served before (a first start also makes
the database, the samples and the network's graph), ROUNDS times.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import images
from benchmarks.scratch import new_folder
from benchmarks.stack import Form, Stack, answers, free_port, fresh, make_forms, running, stopped

ROUNDS: Final = 5
LOOK_SECONDS: Final = 0.005
GIVE_UP_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Start:
    """Seconds from the command to each milestone."""

    page: float
    """The sign-in page answers."""
    first_result: float
    """An image sent as soon as the page answers has its result."""


def measure(rounds: int = ROUNDS) -> list[Start]:
    """Start repeatedly on one data folder; the first start, which creates the files, is not counted."""
    data = new_folder()
    with running(data):
        pass
    return [_start(data, make_forms(fresh(images.originals(1), salt))) for salt in range(rounds)]


def _start(data: Path, image: Sequence[Form]) -> Start:
    port = free_port()
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--data-dir", str(data)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with stopped(process):
        _wait_until(lambda: answers(port, "/sign-in"))
        page = time.perf_counter() - began
        stack = Stack(port, (data / "token").read_text(), process)
        address = stack.send(image, priority="interactive")
        _wait_until(lambda: stack.ask("GET", address)["state"] == "FINISHED")
        stack.connection.close()
        return Start(page, time.perf_counter() - began)


def _wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + GIVE_UP_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise RuntimeError(f"PneumoScreen did not start within {GIVE_UP_SECONDS:.0f} s.")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    for start in measure():
        print(f"page after {start.page:.2f} s, first result after {start.first_result:.2f} s")
