"""The cores that a process may use: affinity and control groups, version 1 and version 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.process.cores import usable_cores

ALL = len(os.sched_getaffinity(0))


def v2(root: Path, group: str, text: str) -> None:
    folder = root / group.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(text)


def v1(root: Path, controller: str, group: str, quota: int) -> None:
    folder = root / controller / group.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores."""
    monkeypatch.setattr("shared.process.cores.os.sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 16),
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("1600000 50000\n", 16),
        ("", 16),
        ("nonsense\n", 16),
        ("0 100000\n", 16),
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, membership: Path, text: str, cores: int) -> None:
    membership.write_text("0::/pods/one\n")
    v2(tmp_path, "/pods/one", text)
    assert usable_cores(membership, tmp_path) == cores


@pytest.mark.usefixtures("many_cores")
def test_the_quota_of_a_parent_binds_too(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/pods/one\n")
    v2(tmp_path, "/pods", "300000 100000\n")
    v2(tmp_path, "/pods/one", "800000 100000\n")
    assert usable_cores(membership, tmp_path) == 3


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize("controller", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "cores"), [(-1, 16), (250000, 3), (50000, 1)])
def test_a_quota_of_version_1(tmp_path: Path, membership: Path, controller: str, quota: int, cores: int) -> None:
    membership.write_text(f"3:cpuset:/\n2:{controller}:/docker/one\n1:name=systemd:/\n0::/\n")
    v1(tmp_path, controller, "/docker/one", quota)
    assert usable_cores(membership, tmp_path) == cores


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize("lines", ["2:cpu:/docker/host/name\n", "0::/../../docker/one\n"])
def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path, membership: Path, lines: str) -> None:
    membership.write_text(lines)
    v1(tmp_path, "cpu", "/", 200000)
    v2(tmp_path, "/", "200000 100000")
    assert usable_cores(membership, tmp_path) == 2


@pytest.mark.usefixtures("many_cores")
def test_a_machine_without_control_groups(tmp_path: Path, membership: Path) -> None:
    assert usable_cores(membership, tmp_path) == 16


@pytest.mark.skipif(ALL < 2, reason="one core cannot be narrowed")
def test_affinity_counts() -> None:
    """In a process of its own, held to one core as `taskset` does."""
    code = (
        "import os, shared.process.cores as c; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(c.usable_cores())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"
