"""Run child processes in parallel: each gets one file at a time, within limits, and is restarted on a crash or hang."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import psutil

from fuzz import PATIENT
from fuzz.cases import Case
from shared.settings import MIB, REPOSITORY

_LAST_WORDS: Final = 4000
_LOG: Final = Case(-1, "log", "all of a lane", "stderr", b"")


@dataclass(frozen=True)
class Bounds:
    """Resource limits for one file."""

    memory_bytes: int = 896 * MIB
    """Peak resident memory. A valid image of the most pixels accepted needs up to 744 MiB (WebP with alpha)."""
    cpu_seconds: float = 15.0
    """Processor time, which does not depend on other load; a worker's limit is 90 s an image."""
    wall_seconds: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """The result of one file."""

    case: Case
    prepared: int = 0
    intake: list[str] = field(default_factory=list)
    decode: list[str] = field(default_factory=list)
    fault: dict[str, str] | None = None
    cpu: float = 0.0
    peak: int = 0


class Lane:
    """One child process, and the protocol to talk to it."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._folder = tempfile.TemporaryDirectory(prefix="pneumoscreen-fuzz-", dir=_scratch())
        self._said = (Path(self._folder.name) / "stderr").open("w+b")
        self._child = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop()
        self._said.close()
        self._folder.cleanup()

    def send(self, case: Case) -> Outcome:
        """Send one file and return its outcome; nothing that the file causes is raised."""
        answer = self._ask(case)
        if answer is None:
            return Outcome(case, fault=self._say_how_it_died())
        outcome = Outcome(case, **answer)
        if outcome.fault is None and outcome.peak > self._bounds.memory_bytes:
            return self._blame(outcome, "OverMemory", f"{outcome.peak // MIB} MiB")
        if outcome.fault is None and outcome.cpu > self._bounds.cpu_seconds:
            return self._blame(outcome, "OverTime", f"{outcome.cpu:.1f} s")
        return outcome

    def _blame(self, outcome: Outcome, what: str, text: str) -> Outcome:
        return Outcome(**{**vars(outcome), "fault": {"what": what, "where": outcome.case.made, "text": text}})

    def said_a_name(self) -> bool:
        """Tell whether a patient's name appeared in what a server would log."""
        self._said.seek(0)
        return any(PATIENT.encode() in line for line in self._said)

    def _ask(self, case: Case) -> dict[str, Any] | None:
        into, out = self._pipes()
        writer = threading.Thread(target=_feed, args=(into, case), daemon=True)
        writer.start()
        line = out.readline() if self._wait(out) else b""
        if not line.endswith(b"\n"):
            return None
        writer.join()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _wait(self, out: IO[bytes]) -> bool:
        """Wait for an answer until the child has used twice its time limit."""
        process, until = psutil.Process(self._child.pid), time.monotonic() + self._bounds.wall_seconds
        used = process.cpu_times()
        most = used.user + used.system + 2 * self._bounds.cpu_seconds
        while time.monotonic() < until and process.cpu_times().user + process.cpu_times().system < most:
            if select.select([out], [], [], 1)[0]:
                return True
        return False

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        into, out = self._child.stdin, self._child.stdout
        assert into is not None  # noqa: S101  # both are pipes, see _start
        assert out is not None  # noqa: S101
        return into, out

    def _say_how_it_died(self) -> dict[str, str]:
        """Tell a crash from a hang, and start a new child."""
        status = self._child.poll()
        hung = status is None and not _ends(self._child)
        self._stop()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _LAST_WORDS))
        words = self._said.read().decode(errors="replace").strip()
        what = "Hang" if hung else f"Exit {self._child.returncode}"
        self._child = self._start()
        return {"what": what, "where": words.splitlines()[-1][:200] if words else "", "text": words[-500:]}

    def _start(self) -> subprocess.Popen[bytes]:
        place = Path(self._folder.name) / "child"
        shutil.rmtree(place, ignore_errors=True)  # left by a killed child
        place.mkdir()
        # Twice the limit: exceeding it must be visible, without taking the machine down.
        command = [sys.executable, "-m", "fuzz.child", str(place), str(2 * self._bounds.memory_bytes)]
        # Each OpenBLAS thread reserves memory that is never used.
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )

    def _stop(self) -> None:
        self._child.kill()
        self._child.communicate()


def _scratch() -> str | None:
    """Prefer a disk in memory: on a real one nearly all the time would go into fsync."""
    memory = Path("/dev/shm")  # noqa: S108  # the folder inside has a name and rights of its own
    return str(memory) if os.access(memory, os.W_OK) else None


def _ends(child: subprocess.Popen[bytes]) -> bool:
    """Wait briefly for a child whose pipe has closed."""
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _feed(into: IO[bytes], case: Case) -> None:
    try:
        into.write(json.dumps({"name": case.file_name, "size": len(case.data)}).encode() + b"\n" + case.data)
        into.flush()
    except BrokenPipeError:
        return  # the child died of this file or the last one; `_wait` reports it


def drive(make: Callable[[int], Case], files: int, lanes: int, bounds: Bounds) -> Iterator[Outcome]:
    """Send files 0 to `files` through `lanes` children and yield what became of each."""
    local = threading.local()
    opened: list[Lane] = []

    def send(number: int) -> Outcome:
        if not hasattr(local, "lane"):
            local.lane = Lane(bounds)
            opened.append(local.lane)
        lane: Lane = local.lane
        return lane.send(make(number))

    try:
        with ThreadPoolExecutor(lanes) as pool:
            # A few at a time: cases are made on demand, and some have megabytes.
            for start in range(0, files, 64):
                yield from pool.map(send, range(start, min(start + 64, files)))
        yield from (
            Outcome(_LOG, fault={"what": "NameLogged", "where": "", "text": ""})
            for lane in opened
            if lane.said_a_name()
        )
    finally:
        for lane in opened:
            lane.__exit__(None, None, None)
