"""A program that is told to stop does so, wherever it was."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.serving.stopping import StopRequested, StopSignals

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield StopSignals()
    for number, handler in before.items():
        signal.signal(number, handler)


class Told:
    """Told to stop by a signal while it is being destroyed."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_what_runs(signals: StopSignals, number: signal.Signals) -> None:
    signals.listen()
    with pytest.raises(StopRequested):
        os.kill(os.getpid(), number)
    with pytest.raises(StopRequested):
        signals.wait(0)


def test_a_signal_that_a_destructor_met_stops_whoever_waits_next(
    signals: StopSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: lost.append(given.exc_type))
    signals.listen()
    told = Told()
    del told
    assert lost == [StopRequested], "Python dropped the interrupt"
    with pytest.raises(StopRequested):
        signals.wait(60)


def test_what_nobody_is_to_hear_stays_ignored(signals: StopSignals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.listen()
    os.kill(os.getpid(), signal.SIGHUP)
    signals.wait(0)


def test_what_stops_is_not_interrupted(signals: StopSignals) -> None:
    signals.listen()
    signals.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    signals.wait(0)


def test_a_program_that_a_signal_met_while_text_was_executed_ends_in_order() -> None:
    code = """
from cli.serving.stopping import StopRequested, StopSignals
StopSignals().listen()
try:
    exec("import os, signal; os.kill(os.getpid(), signal.SIGHUP)")
except StopRequested:
    print("stopped in order")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stopped in order\n", "")
