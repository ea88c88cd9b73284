"""The programs that make up PneumoScreen, and the supervisor that keeps them running on one machine."""

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared.settings import PREFIX, Settings

log = logging.getLogger(__name__)

EX_CONFIG: Final = 78
"""A program ends with this where starting it again would not help (sysexits.h); `worker.app` uses it too."""

STOP_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 30.0
LONGEST_PAUSE: Final = 30.0
LOG_BYTES: Final = 10 * 1024 * 1024

_LOOPBACK_NAMES: Final = "localhost,127.0.0.1,[::1]"
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def web_command(host: str, port: int, threads: int) -> list[str]:
    """Return the command of the pages and the API."""
    return [
        *(sys.executable, "-m", "gunicorn", "web.wsgi:app", "--config", "python:web.server"),
        *("--bind", f"{host}:{port}", "--workers", "1", "--threads", str(threads)),
        *("--worker-class", "web.connections.Worker"),
        # An upload of gigabytes takes minutes; `web.server` ends the ones that hang.
        *(
            "--timeout",
            "0",
            "--graceful-timeout",
            str(int(STOP_SECONDS) - 5),
            "--keep-alive",
            "15",
            "--no-control-socket",
        ),
        # Its heartbeat file belongs in memory (docs.gunicorn.org, FAQ, "blocking os.fchmod").
        *("--worker-tmp-dir", "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()),  # noqa: S108
    ]


def host_setting(settings: Settings, host: str) -> dict[str, str]:
    """Return the setting that has pages on loopback answer to its names alone, where none is listed."""
    is_loopback = host in {"localhost", "::1"} or host.startswith("127.")
    return {f"{PREFIX}ALLOWED_HOSTS": _LOOPBACK_NAMES} if is_loopback and not settings.hosts else {}


def worker_command(processes: int, name: str = "worker") -> list[str]:
    """Return the command of the workers, one process for each network held."""
    return [
        *(sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--pool", "prefork"),
        *("--concurrency", str(processes), "--hostname", f"{name}@%h"),
        # None of these is used, and all cost traffic on Redis; `shared.presence` says which workers there are.
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"),
    ]


def sweep_command() -> list[str]:
    """Return the command of the sweep."""
    return [sys.executable, "-m", "worker.sweep"]


def _end_with_parent() -> None:
    """Have the kernel stop this child when the supervisor dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Program:
    """One supervised program."""

    name: str
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    pause: float = 1.0
    next_start: float = 0.0
    given_up: bool = False


@dataclass
class Supervisor:
    """Start programs, start again what dies, and stop all together."""

    environment: Mapping[str, str]
    log_folder: Path | None
    """Where each program's output goes; None lets it through to the terminal."""
    programs: list[Program] = field(default_factory=list)

    def start(self, name: str, command: list[str]) -> Program:
        """Start a program and watch it from now on."""
        program = Program(name, command)
        self._launch(program)
        self.programs.append(program)
        return program

    def _launch(self, program: Program) -> None:
        program.started_at = time.monotonic()
        output = self._open_log(program.name)
        try:
            program.process = subprocess.Popen(  # noqa: S603  # commands are made in this file
                program.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor alone
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # safe: the supervisor has no threads
            )
        finally:
            if output is not None:
                os.close(output)

    def _open_log(self, name: str) -> int | None:
        if self.log_folder is None:
            return None
        self.log_folder.mkdir(parents=True, exist_ok=True)
        path = self.log_folder / f"{name}.log"
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _trim_log(self, name: str) -> None:
        """Keep a log and its predecessor under LOG_BYTES each; programs go on appending to the emptied file."""
        if self.log_folder is None:
            return
        path = self.log_folder / f"{name}.log"
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)

    def watch(self) -> list[Program]:
        """Start again what has died and return what has been given up since the last look."""
        given_up = []
        for program in self.programs:
            self._trim_log(program.name)
            if program.given_up or program.process is None or program.process.poll() is None:
                continue
            if program.process.returncode == EX_CONFIG:
                program.given_up = True
                given_up.append(program)
            elif program.next_start == 0.0:
                self._plan_restart(program)
            elif time.monotonic() >= program.next_start:
                program.next_start = 0.0
                self._launch(program)
        return given_up

    def _plan_restart(self, program: Program) -> None:
        now = time.monotonic()
        steady = now - program.started_at > STEADY_SECONDS
        program.pause = 1.0 if steady else min(program.pause * 2, LONGEST_PAUSE)
        program.next_start = now + program.pause
        status = program.process.returncode if program.process else None
        log.warning("%s ended with status %s; it starts again in %.0f s.", program.name, status, program.pause)

    def stop(self) -> None:
        """Stop every program, last started first; Redis, the first, so ends after all who need it."""
        for program in reversed(self.programs):
            process = program.process
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop within %.0f s and is killed.", program.name, STOP_SECONDS)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
