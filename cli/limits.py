"""What the operating system allows this process, such as open files."""

import resource
from typing import Final

from shared.errors import PneumoScreenError

LEAST_FILES: Final = 512
"""32 requests at once, each with a connection, a film, the database and its log; the clients that wait; Redis's own."""
WANTED_FILES: Final = 8192


class TooFewFiles(PneumoScreenError):
    """Say how many files may be open and how to allow more."""


def allow_files() -> int:
    """Raise the limit of open files as far as is allowed and useful, and return it.

    Raises TooFewFiles where it stays below LEAST_FILES: every request would then be at risk of an error.
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
