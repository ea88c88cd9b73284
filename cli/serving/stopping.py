"""SIGTERM, SIGINT and SIGHUP for a program that runs until it is asked to stop."""

import signal
import time
from types import FrameType
from typing import Final

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal asked to stop.

    Not KeyboardInterrupt: if that passes through `exec` or `eval` of a string, as when a dataclass is created during an
    import, Python 3.11 exits by SIGINT (exit status -2) although it was caught.
    """


class StopSignals:
    """Interrupt what runs when a signal asks to stop, and remember that it did.

    Python drops an exception that is raised within a destructor or the callback of a weak reference
    (https://docs.python.org/3/library/sys.html#sys.unraisablehook), and a signal may arrive while one of these runs.
    So every later wait raises the interrupt again.
    """

    def __init__(self) -> None:
        self._is_asked = False

    def listen(self) -> None:
        """Handle the signals, except ignored ones, as `nohup` has SIGHUP ignored."""
        for number in _STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)

    def ignore(self) -> None:
        """Ignore the signals from now on: shutdown must not be interrupted."""
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`; raise StopRequested where a signal has asked to stop, now or before."""
        if self._is_asked:
            raise StopRequested
        time.sleep(seconds)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_asked = True
        raise StopRequested
