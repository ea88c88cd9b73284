"""A private disk that can be filled instantly: a tmpfs, shrunk to its content."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from chaos.errors import NotHere

ROOM: Final = "4g"
"""The upper limit; a tmpfs uses memory only for what is written to it."""
_SLACK: Final = 16 * 1024


class Disk:
    """A folder, on a tmpfs where mounting one is allowed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = shutil.which("mount")
        result = None
        if mount is not None:
            command = [mount, "-t", "tmpfs", "-o", f"size={ROOM}", "chaos", str(folder)]
            result = subprocess.run(command, capture_output=True, check=False)
        self.is_mounted = result is not None and result.returncode == 0

    def fill(self) -> None:
        """Leave less room than one image takes; raise NotHere where the disk is no private tmpfs."""
        if not self.is_mounted:
            raise NotHere("a tmpfs cannot be mounted here (be root, or run it under `unshare -rm`)")
        status = os.statvfs(self.folder)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self._resize(str(used + _SLACK))

    def empty(self) -> None:
        """Give the room back."""
        if self.is_mounted:
            self._resize(ROOM)

    def remove(self) -> None:
        """Unmount the disk; what was on it is gone."""
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _resize(self, size: str) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)
