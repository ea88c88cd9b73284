"""The supervisor: nothing that a disk, a log or Redis does ends it, and what it watches comes back."""

import errno
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.serving import broker, processes
from cli.serving.broker import EmbeddedRedis
from cli.serving.processes import Health, Program, Supervisor
from tests.integration.conftest import wait_until

TALK = "import sys, time\nwhile True: print('said', flush=True); time.sleep(0.05)"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor({}, tmp_path / "logs")
    yield made
    made.stop(5.0)


def watch_until(supervisor: Supervisor, condition, what: str) -> None:
    def look() -> object:
        supervisor.watch()
        return condition()

    wait_until(look, 20, what)


def has_said(path: Path) -> bool:
    return path.exists() and "said" in path.read_text()


@pytest.mark.parametrize("harm", ["log renamed", "log deleted", "folder deleted", "folder away"])
def test_no_harm_to_logs_ends_the_supervisor_or_the_log(supervisor: Supervisor, tmp_path: Path, harm: str) -> None:
    log = tmp_path / "logs" / "web.log"
    program = supervisor.start("web", [sys.executable, "-c", TALK])
    pid = program.process.pid
    watch_until(supervisor, lambda: has_said(log), "the first line")
    if harm == "log renamed":
        log.rename(log.with_name("web.log-old"))
    elif harm == "log deleted":
        log.unlink()
    elif harm == "folder deleted":
        shutil.rmtree(log.parent)
    else:
        log.parent.rename(tmp_path / "away")
        supervisor.watch()
        shutil.rmtree(log.parent, ignore_errors=True)
    watch_until(supervisor, lambda: has_said(log), "a line in a new log")
    assert program.process.pid == pid


def test_a_writer_of_logs_that_dies_comes_back_and_nothing_is_lost(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "web.log"
    counting = "import time\nfor n in range(10**9): print(n, flush=True); time.sleep(0.02)"
    supervisor.start("web", [sys.executable, "-c", counting])
    watch_until(supervisor, log.exists, "the log")
    writer = supervisor._logs._writer
    # Between two lines, as what it has read and not written ends with it.
    wait_until(lambda: psutil.Process(writer.pid).status() == psutil.STATUS_SLEEPING, 10, "the writer to wait")
    writer.kill()
    writer.wait()
    lines = len(log.read_text().splitlines())
    watch_until(supervisor, lambda: len(log.read_text().splitlines()) > lines + 5, "more lines")
    numbers = [int(line) for line in log.read_text().splitlines()]
    assert numbers == list(range(len(numbers)))


def test_a_program_without_a_place_in_the_list_has_a_log_too(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start("web", [sys.executable, "-c", TALK])
    supervisor.start("other", [sys.executable, "-c", TALK])
    for name in ("web", "other"):
        watch_until(supervisor, lambda name=name: has_said(tmp_path / "logs" / f"{name}.log"), f"the log of {name}")


def test_a_program_that_cannot_be_started_now_is_started_when_its_cause_ends(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An executable that is away, as during an upgrade of the environment."""
    place = tmp_path / "python"
    program = supervisor.start("web", [str(place), "-c", TALK])
    assert not program.is_running
    supervisor.watch()
    place.symlink_to(sys.executable)
    watch_until(supervisor, lambda: program.is_running, "the program to run")
    assert "cannot be started now" in caplog.text


def test_exhausted_file_handles_end_when_their_cause_ends(supervisor: Supervisor) -> None:
    program = supervisor.start("web", [sys.executable, "-c", "import sys; sys.stdin.read()"])
    program.process.wait(20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            try:
                held.append(os.dup(0))
            except OSError:
                break
        supervisor.watch()
        program.next_start = time.monotonic()
        supervisor.watch()
        assert program.process is None, "no handle was left to start it"
        for handle in held:
            os.close(handle)
        held = []
        program.command = [sys.executable, "-c", TALK]
        watch_until(supervisor, lambda: program.is_running, "the program to run")
    finally:
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_stop_takes_as_long_as_the_slowest_not_as_all_together(tmp_path: Path) -> None:
    deaf = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('said', flush=True)\ntime.sleep(99)"
    )
    supervisor = Supervisor({}, tmp_path / "logs")
    programs = [supervisor.start(name, [sys.executable, "-c", deaf]) for name in ("redis", "web", "worker", "sweep")]
    for program in programs:
        watch_until(supervisor, lambda p=program: has_said(tmp_path / "logs" / f"{p.name}.log"), "it to be deaf")
    began = time.monotonic()
    supervisor.stop(0.5)
    assert time.monotonic() - began < 0.5 + 0.5 + 2.0
    assert {program.process.returncode for program in programs} == {-signal.SIGKILL}


def test_a_program_that_refused_is_named_once_and_tried_again(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker whose model lies on a share that is away for a moment."""
    monkeypatch.setattr(processes, "REFUSED_SECONDS", 0.1)
    place = tmp_path / "model"
    code = f"import os, sys, time\nif not os.path.exists({str(place)!r}): sys.exit(78)\ntime.sleep(99)"
    program = supervisor.start("worker", [sys.executable, "-c", code])
    named: list[Program] = []

    def look() -> bool:
        named.extend(supervisor.watch())
        return bool(named)

    wait_until(look, 20, "the refusal")
    first = program.process.pid
    wait_until(lambda: supervisor.watch() == [] and program.process.pid != first, 20, "another start")
    place.touch()
    watch_until(supervisor, lambda: program.is_running, "the program to run")
    assert named == [program]


# ---------------------------------------------------------------- Redis


@pytest.fixture
def redis(supervisor: Supervisor, tmp_path: Path) -> Iterator[tuple[EmbeddedRedis, Program]]:
    # Not below pytest's own folder, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-test-") as folder:
        embedded = EmbeddedRedis(tmp_path / "redis", Path(folder))
        program = supervisor.start("redis", embedded.command(), ask=embedded.ask, before_start=embedded.before_start)
        embedded.wait_until_ready(program)
        yield embedded, program


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNREACHABLE_SECONDS", "SILENT_SECONDS", "STEADY_SECONDS"):
        monkeypatch.setattr(processes, name, 0.5)
    monkeypatch.setattr(processes, "ASK_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("harm", ["socket", "folder"])
def test_redis_comes_back_where_its_socket_is_gone(supervisor: Supervisor, redis, harm: str) -> None:
    embedded, program = redis
    pid = program.process.pid
    if harm == "socket":
        embedded.place.unlink()
    else:
        shutil.rmtree(embedded.place.parent)
    watch_until(supervisor, lambda: embedded.ask() is Health.WELL, "Redis to answer")
    assert program.process.pid != pid


@pytest.mark.long
@pytest.mark.usefixtures("impatient")
def test_redis_comes_back_where_it_hangs(supervisor: Supervisor, redis, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, program = redis
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.2)
    hung = program.process.pid
    os.kill(hung, signal.SIGSTOP)
    watch_until(supervisor, lambda: program.is_running and program.process.pid != hung, "another Redis")
    wait_until(lambda: embedded.ask() is Health.WELL, 20, "Redis to answer")


def test_a_busy_redis_is_left_alone(supervisor: Supervisor, redis) -> None:
    embedded, program = redis
    os.kill(program.process.pid, signal.SIGSTOP)
    try:
        supervisor.watch()
        assert program.unwell_since is not None, "it was asked and said nothing"
        assert program.is_running
    finally:
        os.kill(program.process.pid, signal.SIGCONT)
    wait_until(lambda: embedded.ask() is Health.WELL, 20, "Redis to answer")


def test_a_folder_that_somebody_else_made_in_the_sockets_place_is_not_used(supervisor: Supervisor, redis) -> None:
    embedded, _ = redis
    embedded.place.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="open to others"):
        embedded.before_start(0)


def test_a_redis_that_cannot_be_asked_is_left_alone(
    supervisor: Supervisor, redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, program = redis
    pid = program.process.pid

    def none_left() -> Health:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    program.ask = none_left
    supervisor.watch()
    assert "cannot be asked now" in caplog.text
    assert program.process.pid == pid


@pytest.mark.usefixtures("impatient")
def test_a_redis_that_is_killed_again_and_again_keeps_its_file(supervisor: Supervisor, redis, tmp_path: Path) -> None:
    embedded, program = redis
    for _ in range(3):
        watch_until(supervisor, lambda: program.has_been_well, "Redis to answer")
        program.process.kill()
        program.process.wait()
        supervisor.watch()
    watch_until(supervisor, lambda: embedded.ask() is Health.WELL, "Redis to answer")
    assert not (tmp_path / "redis.damaged").exists()


@pytest.mark.usefixtures("impatient")
def test_a_damaged_file_of_redis_is_set_aside_while_running(
    supervisor: Supervisor, redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedded, program = redis
    damage(tmp_path / "redis")
    program.process.kill()
    program.process.wait()
    watch_until(supervisor, lambda: embedded.ask() is Health.WELL, "Redis to answer")
    assert (tmp_path / "redis.damaged").is_dir()
    assert "starts empty" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_a_damaged_file_of_redis_is_set_aside_though_it_answers_while_it_reads(
    supervisor: Supervisor, redis, tmp_path: Path
) -> None:
    """Damage far behind the start of a large file: Redis says that it loads, and ends afterwards."""
    embedded, program = redis
    program.command += ["--key-load-delay", "200"]  # microseconds a command, as a disk under load
    damage(tmp_path / "redis", commands=3000)
    program.process.kill()
    program.process.wait()
    watch_until(supervisor, lambda: embedded.ask() is Health.LOADING, "Redis to say that it loads")
    watch_until(supervisor, lambda: embedded.ask() is Health.WELL, "Redis to answer")
    assert (tmp_path / "redis.damaged").is_dir()


@pytest.mark.usefixtures("impatient")
def test_a_redis_that_is_killed_while_it_reads_keeps_its_file(supervisor: Supervisor, redis, tmp_path: Path) -> None:
    """As by a kernel without memory, which says nothing about the file."""
    embedded, program = redis
    program.command += ["--key-load-delay", "400"]  # microseconds a command
    fill(tmp_path / "redis", b"", commands=5000)
    for _ in range(4):
        program.process.kill()
        program.process.wait()
        watch_until(supervisor, lambda: embedded.ask() is Health.LOADING, "Redis to say that it loads")
    assert not (tmp_path / "redis.damaged").exists()


def damage(kept: Path, commands: int = 1) -> None:
    """Write garbage behind so many commands of every append-only file."""
    fill(kept, b"\x00garbage\xff" * 20 + b"*1\r\n$4\r\nPING\r\n", commands)


def fill(kept: Path, end: bytes, commands: int) -> None:
    """Write so many commands, and what follows them, into every append-only file."""
    files = [path for path in kept.rglob("*.aof") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n" * commands + end)


def test_garbage_in_the_append_only_file_ends_redis_by_itself(redis, tmp_path: Path, supervisor: Supervisor) -> None:
    """What the two tests of damage stand on: without our help it would not start."""
    embedded, program = redis
    program.process.terminate()
    program.process.wait()
    damage(tmp_path / "redis")
    supervisor.start_again(program)
    with pytest.raises(broker.NoRedis):
        embedded.wait_until_ready(program)


def test_a_program_that_is_no_longer_wanted_ends_and_stays_ended(supervisor: Supervisor) -> None:
    stays, goes = (supervisor.start(name, [sys.executable, "-c", TALK]) for name in ("web", "worker"))
    supervisor.end(goes)
    watch_until(supervisor, lambda: not goes.is_running, "its end")
    started = goes.started_at
    supervisor.watch()
    assert goes.started_at == started
    assert stays.is_running


def test_a_program_that_does_not_end_is_killed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + TALK
    supervisor.start("web", [sys.executable, "-c", TALK])
    program = supervisor.start("worker", [sys.executable, "-c", deaf])
    log = supervisor.log_folder / "worker.log"
    watch_until(supervisor, lambda: has_said(log), "the first line")
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    supervisor.end(program)
    watch_until(supervisor, lambda: not program.is_running, "its end")
    assert program.process.returncode == -signal.SIGKILL
