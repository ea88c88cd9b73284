"""Count the processor cores this process may use: by affinity and the CPU quotas of control groups (cgroups)."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")
_V1_CONTROLLERS: Final = ("cpu", "cpu,cpuacct")


def usable_cores(membership: Path = _MEMBERSHIP, groups: Path = _GROUPS) -> int:
    """Return the number of cores that affinity and CPU quota allow this process, at least 1.

    A quota of one and a half cores counts as two: one process would leave a third of it unused.
    """
    # Only Linux reports affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = _quotas(membership, groups)
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _quotas(membership: Path, groups: Path) -> Iterator[float]:
    """Yield the quota, in cores, of each control group of this process; a parent's quota applies, too."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no control groups here
        return
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _existing(_read_v2(folder) for folder in _with_parents(groups, path))
        elif "cpu" in controllers.split(","):
            for controller in _V1_CONTROLLERS:
                yield from _existing(_read_v1(folder) for folder in _with_parents(groups / controller, path))


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """Yield the folders of a group and of its parents.

    A container may see its own group as the root, although the path is the host's: a missing folder has no quota.
    """
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    for count in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:count])


def _existing(quotas: Iterator[float | None]) -> Iterator[float]:
    return (quota for quota in quotas if quota is not None)


def _read_v2(folder: Path) -> float | None:
    """Read `cpu.max`, "max 100000" or "150000 100000" (kernel.org, admin-guide/cgroup-v2)."""
    return _ratio(_read(folder / "cpu.max"))


def _read_v1(folder: Path) -> float | None:
    """Read quota and period, -1 where there is no quota (kernel.org, scheduler/sched-bwc)."""
    return _ratio(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _ratio(text: str) -> float | None:
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(quota) > 0 and int(period) > 0:
            return int(quota) / int(period)
        case _:
            return None
