"""Every command line of the README's first steps, on a fresh copy with the packages of the runtime alone."""

import os
import re
import shutil
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.images.samples import write_samples
from tests.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

COPIES = 8
"""Of each sample in the labelled folder: calibration needs thirty images of each class."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository as they are, with an environment that holds the default groups and no more."""
    place = tmp_path_factory.mktemp("clone") / "pneumoscreen"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")):
        source, target = ROOT / os.fsdecode(name), place / os.fsdecode(name)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": ".venv", "UV_OFFLINE": "1"}
    uv = ROOT / ".venv" / "bin" / "uv"
    made = subprocess.run(
        [uv, "sync", "--frozen", "--quiet"], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"The packages of the runtime are not in the cache of uv: {made.stderr[-300:]}")
    (place / ".venv" / "bin" / "uv").symlink_to(uv)
    (place / ".venv" / ".runtime").touch()
    return place


@pytest.fixture(scope="module")
def images(clone: Path) -> Path:
    """What the README's lines name beside the clone's own files: folder, ZIP, image and a labelled folder."""
    drawn = write_samples(clone / "folder")
    with zipfile.ZipFile(clone / "more.zip", "w") as archive:
        archive.write(drawn[0], "image.png")
    shutil.copy(drawn[1], clone / "one.png")
    for image in drawn:
        label = "PNEUMONIA" if int(image.stem[-2:]) % 2 else "NORMAL"
        (clone / "labelled-folder" / label).mkdir(parents=True, exist_ok=True)
        for number in range(COPIES):  # each of other bytes, as copies of a file count once
            copy = clone / "labelled-folder" / label / f"{image.stem}-{number}{image.suffix}"
            copy.write_bytes(image.read_bytes() + f"copy {number}".encode())
    return clone


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def server(images: Path, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`make run` on a free port, as the README starts it before the lines that need a server; its output."""
    said = tmp_path_factory.mktemp("run") / "output.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"], cwd=images, stdout=file, stderr=subprocess.STDOUT, env=plain_environment()
        )
    try:
        deadline = time.monotonic() + 300
        while "PneumoScreen is ready" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield said
    finally:
        process.terminate()
        process.wait(120)


def plain_environment() -> dict[str, str]:
    """What a new user's shell has: nothing of ours and no test's environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PNEUMOSCREEN", "KERAS", "VIRTUAL_ENV", "PYTHONPATH", "MAKE"))
    }


def run(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=place, env=plain_environment(), capture_output=True, text=True, check=False
    )


def command_lines() -> list[str]:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Getting started") : text.index("## The path of one image")]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


OF_TESTS = {"make test"}
"""It would run this test."""
SERVING = "make run PORT=8080 DATA_DIR=/srv/pneumoscreen"
TRAINING = "make setup-training"
"""Fetches TensorFlow, which the test must not: that the target asks for the right group is all that is looked at."""
PLAIN = [line for line in command_lines() if line not in OF_TESTS | {SERVING, TRAINING}]


def test_the_readme_has_the_lines_that_are_not_run_as_they_are() -> None:
    assert OF_TESTS | {SERVING, TRAINING} <= set(command_lines())
    assert len(PLAIN) >= 7


def test_the_environment_is_the_runtime_alone(clone: Path) -> None:
    there = run(".venv/bin/python -c 'import tensorflow'", clone)
    assert "No module named 'tensorflow'" in there.stderr


@pytest.mark.parametrize("line", PLAIN)
def test_a_line_of_the_readme_works(line: str, images: Path, server: Path) -> None:
    done = run(line, images)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr


def test_a_first_start_prints_the_link_before_the_workers_are_ready(server: Path) -> None:
    said = server.read_text()
    assert 0 < said.index("/sign-in/link/") < said.index("PneumoScreen is ready")


def test_a_server_on_another_folder_and_port_starts(images: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        line = SERVING.replace("8080", str(free.getsockname()[1])).replace("/srv/pneumoscreen", str(tmp_path / "data"))
    command = ["bash", "-c", f"exec {line}"]
    with subprocess.Popen(command, cwd=images, stdout=subprocess.PIPE, text=True, env=plain_environment()) as process:
        assert process.stdout is not None
        try:
            assert any("/sign-in/link/" in text for text in process.stdout)
        finally:
            process.terminate()


def test_training_says_what_installs_tensorflow_and_the_target_does(images: Path) -> None:
    said = run(".venv/bin/pneumoscreen train --data labelled-folder", images)
    assert said.returncode == 2
    assert "'tensorflow' of the dependency group 'training'" in said.stderr
    assert f"Run '{TRAINING}'" in said.stderr
    assert "--group training" in run(f"{TRAINING} --dry-run", images).stdout
