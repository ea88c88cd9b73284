"""`pneumoscreen serve` on bad ground: open rights, empty settings, damaged files, what a kill left, disks away."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from cli.data_folder import SOCKET_FILE, URL_FILE
from tests.integration.conftest import Stack, make_images, start, stop, wait_until, wait_until_ready

pytestmark = pytest.mark.timeout(240)


def link(stack: Stack) -> str:
    """The one-time link that a start prints."""
    (line,) = [line for line in stack.log.read_text().splitlines() if "/sign-in/link/" in line]
    return line.rpartition(" ")[2]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Path]:
    """A server that was killed, and the folder of its socket. It had started on a folder of an earlier version."""
    data_dir = tmp_path_factory.mktemp("stack") / "data"
    before = os.umask(0)
    try:
        (data_dir / "redis" / "appendonlydir").mkdir(parents=True)
        for name in ("appendonly.aof", "appendonlydir/appendonly.aof.manifest"):  # Redis 6, Redis 7
            (data_dir / "redis" / name).write_bytes(b"\x00garbage\xff" * 50)
        (data_dir / "secret_key").touch()
        (data_dir / "samples").write_text("a file, not a folder")
    finally:
        os.umask(before)
    running = start(data_dir, workers=1, host="::1", umask=0, environment={"PNEUMOSCREEN_SECRET_KEY": ""})
    try:
        wait_until_ready(running)
        running.wait(running.submit(make_images(1, seed=1)))
    except BaseException:
        stop(running)
        raise
    children = psutil.Process(running.process.pid).children(recursive=True)
    socket_folder = Path((data_dir / SOCKET_FILE).read_text())
    running.process.kill()
    running.process.wait()
    psutil.wait_procs(children, timeout=40)
    running.database.close()
    shutil.copytree(data_dir, data_dir.with_name("at rest"))
    return running, socket_folder


def test_everything_is_open_to_its_owner_alone_whatever_the_umask(killed: tuple[Stack, Path]) -> None:
    stack, _ = killed
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in [stack.data_dir, *stack.data_dir.rglob("*")]}
    theirs = {path for path, mode in rights.items() if mode & 0o077}
    assert theirs <= {stack.log}, "the log of the test itself"
    assert "was open to other accounts" in stack.log.read_text()


def test_garbage_in_the_queue_is_set_aside_and_said(killed: tuple[Stack, Path]) -> None:
    stack, _ = killed
    assert "Redis could not read what it had kept and starts empty" in stack.log.read_text()
    assert (stack.data_dir / "redis.damaged").is_dir()


def test_an_address_of_ipv6_is_printed_in_brackets(killed: tuple[Stack, Path]) -> None:
    stack, _ = killed
    assert f"PneumoScreen is ready at {stack.url}\n" in stack.log.read_text()
    assert stack.url.startswith("http://[::1]:")
    assert link(stack).startswith(stack.url)


def test_pages_are_announced_before_the_workers_are_ready(killed: tuple[Stack, Path]) -> None:
    stack, _ = killed
    said = stack.log.read_text()
    steps = ["is starting", "The pages are at", "Sign in once", "Still starting", "is ready at"]
    assert [said.index(step) for step in steps] == sorted(said.index(step) for step in steps)


@pytest.fixture(scope="module")
def again(killed: tuple[Stack, Path]) -> Iterator[Stack]:
    """The server that is started after the kill."""
    former, socket_folder = killed
    assert (former.data_dir / URL_FILE).exists()
    assert socket_folder.exists()
    running = start(former.data_dir, workers=1)
    try:
        wait_until_ready(running)
        yield running
    finally:
        if running.process.poll() is None:
            stop(running)


def screens(stack: Stack, seed: int) -> None:
    """An image that is sent now is screened."""
    job = stack.wait(stack.submit(make_images(1, seed=seed)))
    assert job["counts"]["DONE"] == 1


@pytest.mark.long
def test_what_the_kill_left_is_removed(again: Stack, killed: tuple[Stack, Path]) -> None:
    _, socket_folder = killed
    assert not socket_folder.exists()
    assert (again.data_dir / URL_FILE).read_text() == again.url


@pytest.mark.long
def test_an_empty_key_is_none_and_people_can_sign_in(again: Stack) -> None:
    with httpx.Client(base_url=again.url, follow_redirects=True) as browser:
        assert browser.get(link(again)).status_code == 200


@pytest.mark.long
def test_a_renamed_log_is_written_anew(again: Stack) -> None:
    log = again.data_dir / "logs" / "worker.log"
    log.rename(log.with_name("worker.log-20261128"))
    again.workers()[0].kill()
    wait_until(lambda: log.exists() and "is ready" in log.read_text(), 60, "a line of the next worker in a new log")
    screens(again, seed=2)


@pytest.mark.long
def test_a_socket_that_is_gone_brings_redis_back(again: Stack) -> None:
    place = Path((again.data_dir / SOCKET_FILE).read_text())
    shutil.rmtree(place)
    parent = again.child("worker.app")
    for process in [*again.workers(), parent]:  # those that come after them cannot connect
        process.kill()
    wait_until((place / "redis.sock").is_socket, 60, "Redis to be started again")
    screens(again, seed=3)


@pytest.mark.long
def test_a_data_folder_that_is_away_for_a_while_ends_nothing(again: Stack) -> None:
    away = again.data_dir.with_name("away")
    again.data_dir.rename(away)
    time.sleep(3.0)
    assert again.process.poll() is None
    if again.data_dir.exists():  # what a program made in its place meanwhile, as beneath a mount
        again.data_dir.rename(again.data_dir.with_name("beneath"))
    away.rename(again.data_dir)
    screens(again, seed=4)


@pytest.mark.long
def test_a_stop_leaves_no_address_and_no_socket(again: Stack) -> None:
    place = Path((again.data_dir / SOCKET_FILE).read_text())
    assert stop(again) == 0
    assert not place.exists()
    assert not (again.data_dir / URL_FILE).exists()
    assert not (again.data_dir / SOCKET_FILE).exists()


def refuse(data_dir: Path, **environment: str) -> str:
    """Start on ground that cannot be served on, and return what is said of it."""
    refused = start(data_dir, environment=environment)
    refused.database.close()
    try:
        assert refused.process.wait(60) == 2
    finally:
        refused.process.kill()
        refused.process.wait()
    said = refused.log.read_text()
    assert "Traceback" not in said
    return said


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "pneumoscreen.db").write_bytes(b"garbage" * 1000)
    assert "file is not a database" in refuse(data_dir)
    assert (data_dir / "pneumoscreen.db").read_bytes() == b"garbage" * 1000


@pytest.mark.long
def test_a_database_that_is_away_is_named(tmp_path: Path) -> None:
    url = "postgresql+psycopg://nobody:hush@127.0.0.1:1/none"
    said = refuse(tmp_path / "data", PNEUMOSCREEN_DATABASE_URL=url)
    assert "The database did not do this" in said
    assert "hush" not in said


def test_something_else_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "lock").mkdir(parents=True)
    assert "/data/lock: Is a directory" in refuse(tmp_path / "data")


@pytest.mark.long
@pytest.mark.parametrize("harm", ["cut short", "garbage", "gone"])
def test_a_damaged_write_ahead_log_costs_the_last_commits_alone(killed: tuple[Stack, Path], tmp_path: Path, harm: str):
    """SQLite reads it up to the damage (sqlite.org/wal.html#walformat); what was lost can be sent again."""
    former, _ = killed
    at_rest, data_dir = former.data_dir.with_name("at rest"), tmp_path / "data"
    with closing(sqlite3.connect(at_rest / "pneumoscreen.db")) as database:
        database.execute("PRAGMA wal_autocheckpoint=0")
        for number in range(50):
            database.execute("UPDATE jobs SET name = ?", [f"name {number}"])
            database.commit()
        shutil.copytree(at_rest, data_dir)  # as a loss of power leaves it: what was committed is in the log alone
    log = data_dir / "pneumoscreen.db-wal"
    assert log.stat().st_size > 50 * 4096
    if harm == "cut short":
        os.truncate(log, log.stat().st_size // 2)
    elif harm == "garbage":
        log.write_bytes(log.read_bytes()[: log.stat().st_size // 2] + os.urandom(5000))
    else:
        log.unlink()
    running = start(data_dir, workers=1)
    try:
        wait_until_ready(running)
        screens(running, seed=5)
    finally:
        assert stop(running) == 0


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_any_user_id_will_do() -> None:
    """As OpenShift gives a container one without a name, in group 0, and without a home."""
    folder = Path(tempfile.mkdtemp(prefix="pneumoscreen-test-"))
    os.chown(folder, 54321, 0)
    # The right to read is kept, because the interpreter of a developer may lie in a home that is closed to others.
    rights = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    command = ["setpriv", "--reuid", "54321", "--regid", "0", "--clear-groups", *rights]
    try:
        running = start(
            folder / "data", workers=1, before=command, environment={"HOME": "/nonexistent", "TMPDIR": str(folder)}
        )
        try:
            wait_until_ready(running)
            screens(running, seed=6)
        finally:
            assert stop(running) == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.parametrize("line", ["is starting", "The pages are at", "Still starting"])
def test_a_stop_during_a_first_start_is_quick(tmp_path: Path, line: str) -> None:
    """A container is killed after 10 s; here a worker loads Keras, which takes longer."""
    running = start(tmp_path / "data", environment={"PNEUMOSCREEN_GRAPHS_DIR": str(tmp_path / "graphs")})
    wait_until_ready(running, line)
    began = time.monotonic()
    assert stop(running) == 0
    assert time.monotonic() - began < 8.0
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or ())]
    assert left == []


@pytest.mark.long
def test_a_stop_of_a_worker_that_loads_is_quick(tmp_path: Path, redis_url: str) -> None:
    """A worker in a container of its own; it has no image yet that it would have to end."""
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PNEUMOSCREEN_DATA_DIR": str(tmp_path / "data"),
        "PNEUMOSCREEN_REDIS_URL": redis_url,
    }
    (tmp_path / "data").mkdir()
    pneumoscreen = str(Path(sys.executable).with_name("pneumoscreen"))
    subprocess.run([pneumoscreen, "migrate"], env=environment, check=True)
    log = tmp_path / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen([pneumoscreen, "worker", "--processes", "2"], env=environment, stderr=output)
    wait_until(lambda: log.read_text().count("Loading") == 2, 120, "two processes to load")
    check = subprocess.run([pneumoscreen, "worker", "--check"], env=environment, check=False)
    assert check.returncode == 0, "it is alive, though it is not ready"
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(60) == 0
    assert time.monotonic() - began < 8.0


@pytest.mark.long
def test_the_end_of_the_terminal_stops_everything(tmp_path: Path) -> None:
    running = start(tmp_path / "data", workers=1)
    wait_until_ready(running)
    running.process.send_signal(signal.SIGHUP)
    assert running.process.wait(60) == 0
    assert not (running.data_dir / URL_FILE).exists()
    running.database.close()
