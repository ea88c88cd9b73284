"""Wait for conditions, and find free ports."""

import socket
import time
from collections.abc import Callable

from chaos.errors import ChaosFailed


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition; raise ChaosFailed with its description `what` on timeout."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise ChaosFailed(f"Waited {seconds:.0f} s for {what}.")
        time.sleep(0.01)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
