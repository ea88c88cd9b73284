"""Children that load are known to their parent, which ends them at a stop."""

import os
import signal
import time

import pytest

from worker.loading import LoadingProcesses


def fork(loading: LoadingProcesses, number: int, seconds: float) -> int:
    """Fork a child that loads for so long; it never returns to pytest."""
    pid = os.fork()
    if pid:
        return pid
    try:
        with loading.noted(number):
            time.sleep(seconds)
    finally:
        os._exit(0)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_that_load_are_killed_and_those_that_come_after_end_by_themselves() -> None:
    loading = LoadingProcesses()
    done, busy = fork(loading, 0, 0.0), fork(loading, 1, 60.0)
    assert status(done) == 0
    until = time.monotonic() + 20
    while not any(loading._pids[:]) and time.monotonic() < until:
        time.sleep(0.01)
    assert loading.end() == 1
    assert status(busy) == -signal.SIGKILL
    began = time.monotonic()
    assert status(fork(loading, 1, 60.0)) == 0
    assert time.monotonic() - began < 30


def test_more_children_than_there_is_room_for_are_waited_for() -> None:
    loading = LoadingProcesses()
    with loading.noted(100_000):
        assert loading.end() == 0
