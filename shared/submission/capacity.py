"""Measure queue, disk and workers at most once a second per process, for all requests."""

import shutil
from pathlib import Path

from sqlalchemy.engine import make_url

from shared.db import Database
from shared.errors import BrokerAway
from shared.queue.heartbeats import Heartbeat, Heartbeats
from shared.settings import Settings
from shared.submission.backlog import Backlog, count_backlog, measure_speed
from shared.submission.measurement import Measurement
from shared.tables import Priority


class Capacity:
    """Measurements of room for more images and of workers, each taken at most once a second."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._folders = _watched_folders(settings)
        self.heartbeats = Heartbeats(settings)
        self.backlog = Measurement(self._count_backlog)
        self.free_bytes = Measurement(self._measure_disk)
        """Free space of the fullest watched disk; None where everything is stored on other machines."""
        self.workers = Measurement(self.read_workers)

    def speed(self) -> float:
        """Return the images a second that workers predicted in the last half minute."""
        with self._database.read() as session:
            return measure_speed(session)

    def read_workers(self) -> tuple[Heartbeat, ...] | None:
        """Read each worker's latest heartbeat now; None where Redis does not answer."""
        try:
            return tuple(self.heartbeats.latest())
        except BrokerAway:
            return None

    def count_in(self, priority: Priority, images: int) -> None:
        """Add images just accepted to the backlog, before the next measurement is due."""
        self.backlog.amend(lambda known: known.plus(priority, images))

    def _count_backlog(self) -> Backlog:
        with self._database.read() as session:
            return count_backlog(session)

    def _measure_disk(self) -> int | None:
        return min((shutil.disk_usage(folder).free for folder in self._folders if folder.is_dir()), default=None)


def _watched_folders(settings: Settings) -> list[Path]:
    """Return the folders whose disks fill with images: store, SQLite's, and the data folder with Redis's file.

    Storage on other machines has no folder here.
    """
    url = make_url(settings.database)
    file = [Path(url.database).parent] if url.get_backend_name() == "sqlite" and url.database else []
    return [settings.data_dir, settings.store, *file]
