"""Make scratch folders to measure in, removed after all measurements.

Recent deletions can slow a file system down: ext4 without a journal skips inodes freed in the last one to five minutes
(its RECENTCY_MIN and RECENTCY_DIRTY), and creating a file then took 540 µs instead of 25.
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
    """Make a folder that is removed when this process exits."""
    made = Path(tempfile.mkdtemp(prefix="pneumoscreen-bench-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def settle() -> None:
    """Wait until earlier deletions no longer slow the disk down."""
    os.sync()
    time.sleep(SETTLE_SECONDS)
