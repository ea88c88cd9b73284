"""Faults of disks and of the image store: full, missing, slow, hanging."""

import errno
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.disk import Disk
from chaos.errors import ChaosFailed, NotHere
from chaos.faults.web import EveryWebKilled
from chaos.scene import Scene
from shared.db import new_id

FULL_SECONDS: Final = 6.0
AWAY_SECONDS: Final = 6.0
SLOW_SECONDS: Final = 8.0
HANG_SECONDS: Final = 20.0
"""Longer than the timeout of one request (shared/store/bucket.py: 15 s)."""


@dataclass(frozen=True)
class StoreFull:
    """The image store's disk has no room for another image."""

    name: str = f"disk of the image store full for {FULL_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Shrink the disk to what it holds."""
        _fill(scene.stack.store_disk)


@dataclass(frozen=True)
class DatabaseFull:
    """The disk under SQLite, the logs and the file of Redis has no room left."""

    name: str = f"disk under the database full for {FULL_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Shrink the disk to what it holds."""
        if scene.stack.postgres is not None:
            raise NotHere("PostgreSQL keeps its files elsewhere")
        _fill(scene.stack.data_disk)


def _fill(disk: Disk) -> None:
    disk.fill()
    try:
        time.sleep(FULL_SECONDS)
    finally:
        disk.empty()


@dataclass(frozen=True)
class StoreAway:
    """The image store is unavailable for a while: an unmounted share, an object store that drops every connection."""

    name: str = f"image store unavailable for {AWAY_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Take the store away and give it back."""
        bucket = scene.stack.bucket
        if bucket is None:
            _move_away(scene.stack.store_dir)
            return
        bucket.gate.shut()
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            bucket.gate.is_shut = False


def _move_away(place: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Move a folder away and back; anything created in its place meanwhile is hidden, as beneath a mount."""
    away = place.with_name("away")
    place.rename(away)
    try:
        meanwhile()
        time.sleep(AWAY_SECONDS)
    finally:
        _exchange(away, place)


@dataclass(frozen=True)
class WebStartsWithoutStore:
    """All web processes restart while the store's share is not mounted and an empty folder is in its place."""

    name: str = f"web restarted with the image store not mounted for {AWAY_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Take the store away, leave an empty folder, kill the web and give the store back once it has started."""
        if scene.stack.bucket is not None:
            raise NotHere("the image store is not a folder")
        place = scene.stack.store_dir

        def restart() -> None:
            place.mkdir()
            EveryWebKilled().hurt(scene)
            scene.stack.web()

        _move_away(place, restart)
        lost = [path for beneath in place.parent.glob("beneath-*") for path in beneath.rglob("*") if path.is_file()]
        if lost:
            raise ChaosFailed(f"{len(lost)} files were stored under the mount point, e.g. {lost[0].name}.")


def _exchange(away: Path, place: Path) -> None:
    """Move a folder to a path that may be occupied, even again while it is being cleared."""
    while True:
        with suppress(FileNotFoundError):
            place.rename(place.with_name(f"beneath-{new_id()}"))
        try:
            away.rename(place)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        else:
            return


@dataclass(frozen=True)
class StoreSlow:
    """The image store takes half a second for an image."""

    name: str = f"image store slow for {SLOW_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Make the workers wait for every image."""
        scene.stack.order("store-slow")
        try:
            time.sleep(SLOW_SECONDS)
        finally:
            scene.stack.withdraw("store-slow")


@dataclass(frozen=True)
class StoreHangs:
    """The object store accepts connections but does not answer."""

    name: str = f"object store hangs for {HANG_SECONDS:.0f} s"
    family: str = "disk"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Stop the server, then continue it."""
        if scene.stack.bucket is None:
            raise NotHere("the image store is a folder")
        server = scene.stack.bucket.server
        server.suspend()
        try:
            time.sleep(HANG_SECONDS)
        finally:
            server.resume()


@dataclass(frozen=True)
class LogsGone:
    """Every log is renamed, as logrotate does, and then their folder is removed."""

    name: str = "logs renamed, then removed"
    family: str = "logs"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Rename the logs, then remove their folder, under the programs that write them."""
        folder = scene.stack.data_dir / "logs"
        for log in folder.glob("*.log"):
            log.rename(log.with_name(f"{log.name}-{new_id()}"))
        time.sleep(1.0)
        shutil.rmtree(folder, ignore_errors=True)


FAULTS: Final = (
    StoreFull(),
    DatabaseFull(),
    StoreAway(),
    WebStartsWithoutStore(),
    StoreSlow(),
    StoreHangs(),
    LogsGone(),
)
