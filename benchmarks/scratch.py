"""Folders to measure in, removed when everything has been measured.

A file system may pay for what was removed before: ext4 without a journal passes over inodes that were freed in the last
one to five minutes (its RECENTCY_MIN and RECENTCY_DIRTY), and a file then took 540 µs to make instead of 25.
"""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

SETTLE_SECONDS: Final = 60.0


def new_folder() -> Path:
    """Make a folder that is removed when this process ends."""
    made = Path(tempfile.mkdtemp(prefix="pneumoscreen-bench-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def settle() -> None:
    """Wait until the disk has forgotten what was removed before this process."""
    os.sync()
    time.sleep(SETTLE_SECONDS)
