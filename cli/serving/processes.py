"""The programs of PneumoScreen, and the supervisor that keeps them running on one machine."""

import ipaddress
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from cli.serving.limits import most_connections
from shared.process.orphans import end_with_parent
from shared.settings import PREFIX, Settings

log = logging.getLogger(__name__)

EX_CONFIG: Final = 78
"""Exit status where an immediate restart would not help (sysexits.h); `worker.app` uses it."""

STOP_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 30.0
LONGEST_PAUSE: Final = 30.0
ENDED_BY_OTHERS: Final = (-signal.SIGTERM, -signal.SIGKILL)
"""Exits caused by this supervisor, a person or the OOM killer, which say nothing about what a program read."""

ASK_SECONDS: Final = 1.0
"""Interval between health checks of a program that has one."""
UNREACHABLE_SECONDS: Final = 5.0
"""A program that answered before but accepts no connections any more is restarted after this."""
SILENT_SECONDS: Final = 30.0
"""One that starts, or that accepts connections but stays silent, may only be busy and gets longer."""
KILL_SECONDS: Final = 3.0
REFUSED_SECONDS: Final = 60.0
"""How long until a program that refused is tried again: a model's folder may be repaired, or its disk be back."""

LOGGED: Final = ("redis", "web", "worker", "sweep")
"""Programs that `serve` starts; the log of any other one is added when it starts."""

SPARING: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "524288", "MALLOC_TRIM_THRESHOLD_": "524288"}
"""Makes glibc (mallopt(3)) share two arenas among all threads of the web and return blocks of 512 KiB at once;
otherwise each thread gets its own arena and keeps its peak. Other C libraries ignore this."""

_LOOPBACK_NAMES: Final = "localhost,127.0.0.1,[::1]"


def web_command(host: str, port: int, threads: int) -> list[str]:
    """Return the command of the pages and the API."""
    return [
        *(sys.executable, "-m", "gunicorn", "web.wsgi:app", "--config", "python:web.server"),
        *("--bind", f"{bracketed(host)}:{port}", "--workers", "1", "--threads", str(threads)),
        *("--worker-class", "web.http.connections.Worker", "--worker-connections", str(most_connections())),
        # An upload of gigabytes takes minutes; `web.server` ends stalled ones.
        *(
            "--timeout",
            "0",
            "--graceful-timeout",
            str(int(STOP_SECONDS) - 5),
            "--keep-alive",
            "15",
            "--no-control-socket",
        ),
        # gunicorn's heartbeat file belongs in memory (docs.gunicorn.org, FAQ, "blocking os.fchmod").
        *("--worker-tmp-dir", "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()),  # noqa: S108
    ]


def bracketed(host: str) -> str:
    """Return a host as written before a port: an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def web_environment(settings: Settings, host: str) -> dict[str, str]:
    """Return the environment of the web: memory settings, and on loopback only its host names allowed.

    Existing values in the environment or the settings are kept.
    """
    hosts = {f"{PREFIX}ALLOWED_HOSTS": _LOOPBACK_NAMES} if is_loopback(host) and not settings.hosts else {}
    return {name: value for name, value in SPARING.items() if name not in os.environ} | hosts


def worker_command(processes: int, name: str = "worker") -> list[str]:
    """Return the command of the workers, one process per loaded network."""
    return [
        *(sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--pool", "prefork"),
        *("--concurrency", str(processes), "--hostname", f"{name}@%h"),
        # None of these is used, and all cost traffic on Redis; `shared.queue.heartbeats` tells which workers there are.
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"),
    ]


def sweep_command() -> list[str]:
    """Return the command of the sweep."""
    return [sys.executable, "-m", "worker.sweep"]


class Health(Enum):
    """The result of a health check."""

    WELL = "answers"
    LOADING = "reads what it kept"
    UNREACHABLE = "cannot be connected to"
    SILENT = "takes connections and does not answer"


@dataclass
class Program:
    """One supervised program."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Its own environment, beside that of all programs."""
    ask: Callable[[], Health] | None = None
    """Checks the health of a running program."""
    before_start: Callable[[int], None] | None = None
    """Called before each start with how often in a row the program exited by itself before it answered."""
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    pause: float = 1.0
    next_start: float = 0.0
    early_ends: int = 0
    has_refused: bool = False
    next_ask: float = 0.0
    unwell_since: float | None = None
    has_been_well: bool = False

    @property
    def is_running(self) -> bool:
        """Tell whether its process exists."""
        return self.process is not None and self.process.poll() is None


class ProgramLogs:
    """Pipes from the programs to `log_writer`, a separate process that a full or missing disk cannot stop."""

    def __init__(self, folder: Path, names: Sequence[str] = LOGGED) -> None:
        self.folder = folder
        # This process keeps both ends, so that neither program nor writer meets a broken pipe when the other ends.
        self._pipes = {name: os.pipe() for name in names}
        self._writer: subprocess.Popen[bytes] | None = None
        self._next_start = 0.0
        self._has_warned = False

    def output(self, name: str) -> int:
        """Return where a program's output goes."""
        if name not in self._pipes:
            self._pipes[name] = os.pipe()
            self._end_writer()
        self.keep_up()
        return self._pipes[name][1]

    def keep_up(self) -> None:
        """Start the writer where it is not running, at most once a second; where that is impossible, report it once."""
        now = time.monotonic()
        if now < self._next_start or (self._writer is not None and self._writer.poll() is None):
            return
        self._next_start = now + ASK_SECONDS
        pipes = {name: reading for name, (reading, _) in self._pipes.items()}
        command = [sys.executable, "-m", "cli.serving.log_writer", str(self.folder)]
        try:
            self._writer = subprocess.Popen(  # noqa: S603  # our own module
                [*command, *(f"{name}={pipe}" for name, pipe in pipes.items())],
                stdin=subprocess.DEVNULL,
                pass_fds=list(pipes.values()),
                start_new_session=True,
            )
        except OSError as error:
            if not self._has_warned:
                log.warning("Logs cannot be written now: %s.", error.strerror)
            self._has_warned = True
        else:
            self._has_warned = False

    def _end_writer(self) -> None:
        self._next_start = 0.0
        if self._writer is not None:
            self._writer.kill()
            self._writer.wait()

    def close(self) -> None:
        """Close the pipes and wait until their content is written; a program still running is not waited for."""
        for _, writing in self._pipes.values():
            os.close(writing)
        if self._writer is not None:
            try:
                self._writer.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                self._end_writer()
        for reading, _ in self._pipes.values():
            os.close(reading)
        self._pipes = {}


class Supervisor:
    """Start programs, restart those that exit or no longer answer, and stop all together."""

    def __init__(self, environment: Mapping[str, str], log_folder: Path | None) -> None:
        """Take the programs' environment, and the folder of their logs; None passes output through to the terminal."""
        self.environment = environment
        self.log_folder = log_folder
        self.programs: list[Program] = []
        self._logs = ProgramLogs(log_folder) if log_folder is not None else None
        self._ending: list[tuple[Program, float]] = []
        """Programs asked to stop, with the time at which each is killed."""

    def start(
        self,
        name: str,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        ask: Callable[[], Health] | None = None,
        before_start: Callable[[int], None] | None = None,
    ) -> Program:
        """Start a program and supervise it from now on."""
        program = Program(name, command, environment or {}, ask, before_start)
        self.programs.append(program)
        self._launch(program)
        return program

    def _launch(self, program: Program) -> None:
        """Start a program's process; where the machine cannot do that now, schedule a retry."""
        program.started_at = program.next_ask = time.monotonic()
        program.next_start, program.unwell_since, program.has_been_well = 0.0, None, False
        try:
            if program.before_start is not None:
                program.before_start(program.early_ends)
            output = None if self._logs is None else self._logs.output(program.name)
            program.process = subprocess.Popen(  # noqa: S603  # commands are made in this file
                program.command,
                env={**os.environ, **self.environment, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal reaches only the supervisor
                preexec_fn=end_with_parent,  # noqa: PLW1509  # safe: the supervisor has no threads
            )
        except OSError as error:  # too many files, processes or no memory; a missing folder
            program.process = None
            log.warning("%s cannot be started now: %s.", program.name, error)

    def watch(self) -> list[Program]:
        """Restart programs that exited, whatever the disk does; return those that newly refused to start."""
        if self._logs is not None:
            self._logs.keep_up()
        self._reap()
        refused = []
        for program in self.programs:
            if program.is_running:
                self._ask(program)
            elif program.next_start > 0.0:
                if time.monotonic() >= program.next_start:
                    self._launch(program)
            elif program.process is not None and program.process.returncode == EX_CONFIG:
                program.next_start = time.monotonic() + REFUSED_SECONDS
                if not program.has_refused:
                    refused.append(program)
                program.has_refused = True
            else:
                self._plan_restart(program)
        return refused

    def _ask(self, program: Program) -> None:
        """Check a running program's health, and end it where it has been unhealthy for too long."""
        now = time.monotonic()
        if now - program.started_at > STEADY_SECONDS:
            program.has_refused = False
        if program.ask is None or now < program.next_ask:
            return
        program.next_ask = now + ASK_SECONDS
        try:
            health = program.ask()
        except OSError as error:  # no file handle left for the check, which says nothing about the program
            log.warning("%s cannot be asked now: %s.", program.name, error)
            return
        if health in (Health.WELL, Health.LOADING):
            program.unwell_since = None
            program.has_been_well = program.has_been_well or health is Health.WELL
            return
        if program.unwell_since is None:
            program.unwell_since = now
        is_gone = program.has_been_well and health is Health.UNREACHABLE
        limit = UNREACHABLE_SECONDS if is_gone else SILENT_SECONDS
        if now - program.unwell_since >= limit:
            log.warning("%s %s and is started again.", program.name, health.value)
            _terminate(program)
            _wait_or_kill(program, KILL_SECONDS)

    def _plan_restart(self, program: Program) -> None:
        now = time.monotonic()
        steady = now - program.started_at > STEADY_SECONDS
        program.pause = 1.0 if steady else min(program.pause * 2, LONGEST_PAUSE)
        if program.has_been_well:
            program.early_ends = 0
        elif program.process is not None and program.process.returncode not in ENDED_BY_OTHERS:
            program.early_ends += 1
        program.next_start = now + program.pause
        status = program.process.returncode if program.process else None
        log.warning("%s ended with status %s; it starts again in %.0f s.", program.name, status, program.pause)

    def end(self, program: Program) -> None:
        """Stop a program for good, without waiting for its end."""
        self.programs.remove(program)
        _terminate(program)
        self._ending.append((program, time.monotonic() + STOP_SECONDS))

    def _reap(self) -> None:
        """Forget programs that have stopped, and kill those that took too long."""
        for program, until in self._ending:
            if time.monotonic() >= until:
                _wait_or_kill(program, 0.0)
        self._ending = [(program, until) for program, until in self._ending if program.is_running]

    def start_again(self, program: Program) -> None:
        """Restart a program that has exited, at once."""
        self._launch(program)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop every program within `seconds`: all others together, then the first, Redis, which they need."""
        first, others = self.programs[:1], [*self.programs[1:], *(program for program, _ in self._ending)]
        for programs in (others, first):
            for program in programs:
                _terminate(program)
            until = time.monotonic() + seconds
            for program in programs:
                _wait_or_kill(program, max(0.0, until - time.monotonic()))
        if self._logs is not None:
            self._logs.close()


def _terminate(program: Program) -> None:
    if program.process is not None and program.is_running:
        program.process.terminate()


def _wait_or_kill(program: Program, seconds: float) -> None:
    """Wait for a program that was asked to stop, and kill it with its children where it takes too long."""
    process = program.process
    if process is None:
        return
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        log.warning("%s did not stop within %.0f s and is killed.", program.name, seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
