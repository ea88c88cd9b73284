"""Open files: a least number is asked for at the start; a web that clients exhaust works again without them."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from cli.serving.limits import LEAST_FILES, most_connections
from tests.integration.conftest import free_port, wait_until

PNEUMOSCREEN = str(Path(sys.executable).with_name("pneumoscreen"))


def limited(command: list[str], files: int, environment: dict[str, str], log: Path) -> subprocess.Popen:
    """Start a command that may open so many files at most."""
    script = f'ulimit -Sn {files} && ulimit -Hn {files} && exec "$@"'
    with log.open("wb") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *command],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )


@pytest.mark.parametrize("command", [["serve"], ["web"]])
def test_too_few_are_refused_with_a_sentence(command: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {"PNEUMOSCREEN_DATA_DIR": str(tmp_path / "data")}
    refused = limited([PNEUMOSCREEN, *command], LEAST_FILES - 1, environment, log)
    assert refused.wait(60) == 2
    assert f"at least {LEAST_FILES} are needed" in log.read_text()
    assert "LimitNOFILE" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(("files", "connections"), [(512, 128), (1024, 384), (8192, 1000)])
def test_clients_are_bounded_by_the_files_that_may_be_open(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert most_connections() == connections


@pytest.mark.long
def test_a_web_without_a_file_left_works_again_when_its_clients_go(tmp_path: Path) -> None:
    environment = {
        "PNEUMOSCREEN_DATA_DIR": str(tmp_path / "data"),
        "PNEUMOSCREEN_SECRET_KEY": "a key for tests only",
        "PNEUMOSCREEN_REDIS_URL": f"unix://{tmp_path}/no.sock",
    }
    (tmp_path / "data").mkdir()
    subprocess.run([PNEUMOSCREEN, "migrate"], env={**os.environ, **environment}, check=True)
    port, log = free_port(), tmp_path / "log"
    web = limited([PNEUMOSCREEN, "web", "--port", str(port)], LEAST_FILES, environment, log)
    clients: list[socket.socket] = []

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, 60, "the web")
        (worker,) = psutil.Process(web.pid).children()
        place = ("127.0.0.1", port)
        clients.extend(socket.create_connection(place, timeout=5) for _ in range(LEAST_FILES + 50))
        wait_until(lambda: worker.num_fds() > most_of(LEAST_FILES), 30, "its files to be taken")
        for client in clients:
            client.close()
        wait_until(answers, 30, "an answer after they have gone")
        assert worker.is_running(), "its worker has not ended"
        assert "Too many open files" not in log.read_text()
    finally:
        for client in clients:
            client.close()
        web.terminate()
        web.wait(60)


def most_of(files: int) -> int:
    """What is in use when as many clients are held as may be."""
    return (files - 256) // 2
