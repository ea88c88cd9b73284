"""Limits of the operating system for this process, such as open files."""

import resource
from typing import Final

from shared.errors import PneumoScreenError

LEAST_FILES: Final = 512
"""32 concurrent requests, each with a connection, an image, the database and its log; waiting clients; Redis's own."""
WANTED_FILES: Final = 8192
OTHER_FILES: Final = 256
"""Of the web: libraries, log, listening sockets, and three for each of 32 concurrent requests."""
MOST_CONNECTIONS: Final = 1000


class TooFewFiles(PneumoScreenError):
    """Say how many files may be open and how to allow more."""


def allow_files() -> int:
    """Raise the limit of open files as far as is allowed and useful, and return it.

    Raises TooFewFiles where it stays below LEAST_FILES, with which any request might fail.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < WANTED_FILES:
        soft = min(WANTED_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < LEAST_FILES:
        raise TooFewFiles(
            f"Only {soft} files may be open at once; at least {LEAST_FILES} are needed. Allow more: "
            "'ulimit -n 8192' before the start, LimitNOFILE= of systemd or --ulimit nofile= of Docker."
        )
    return soft


def most_connections() -> int:
    """Return how many clients may connect to the web at once under the current limit of open files.

    A waiting client briefly uses two files, its connection and what watches it. Beyond the limit gunicorn's worker
    would crash, with every request that it is handling.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST_CONNECTIONS, (soft - OTHER_FILES) // 2))
