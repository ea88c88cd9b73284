"""Webhook messages and e-mails in tests: those that were noted, and sending them, here or by the sweep."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select, update

from shared.db import Database, now
from shared.settings import PREFIX, Settings
from shared.tables import Message
from tests.conftest import ROOT
from worker.messages.sender import Sender


def messages(database: Database) -> list[Message]:
    """Return every message, oldest first."""
    with database.read() as session:
        return list(session.scalars(select(Message).order_by(Message.created_at, Message.event)))


def make_due(database: Database, **values: object) -> None:
    """Let every message be sent now, and change what else is given."""
    with database.write() as session:
        session.execute(update(Message).values(due_at=now() - timedelta(seconds=1), **values))


def send(database: Database, settings: Settings, **options: Path) -> int:
    """Send once, in a thread as the sweep does; in this one a browser test may have left its event loop running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(Sender(database, settings, **options).send_due).result()


@contextmanager
def running_sweep(folder: Path, settings: Settings, **changes: str) -> Iterator[Path]:
    """Run the sweep on the SQLite database of `folder`, give its log, and stop it.

    Raises:
        AssertionError: It did not end with 0.
    """
    environment = {
        **os.environ,
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        f"{PREFIX}REDIS_URL": f"unix://{folder / 'no.sock'}",
        f"{PREFIX}SWEEP_SECONDS": "0.2",
        **{f"{PREFIX}{name.upper()}": value for name, value in changes.items()},
    }
    log = folder / "sweep.log"
    with log.open("wb") as out:
        sweep = subprocess.Popen(
            [sys.executable, "-m", "worker.sweep"], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield log
        finally:
            sweep.terminate()
            assert sweep.wait(30) == 0
