"""Poll how many images wait and how many have their outcome, many times a second."""

import threading
import time
from collections import Counter
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from chaos.errors import ChaosFailed
from shared.db import Database
from shared.states import FINAL_STATES, State
from shared.tables import Screening

LOOK_SECONDS: Final = 0.05
STUCK_SECONDS: Final = 600.0
"""A backlog that makes no progress for this long after a fault is stuck."""


class Watch(threading.Thread):
    """Count the screenings by state, as often as the database allows."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._counts: Counter[State] = Counter()
        self._looked_at = 0.0
        self._stopped = threading.Event()

    def run(self) -> None:
        """Poll until stopped; while the database fails, the last counts are kept."""
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self._look()
            except OperationalError:
                continue

    def _look(self) -> None:
        began = time.monotonic()
        with self._database.read() as session:
            rows = session.execute(select(Screening.state, func.count()).group_by(Screening.state))
            self._counts = Counter(dict(rows.all()))
        self._looked_at = began

    @property
    def waiting(self) -> int:
        """Return how many images wait."""
        return self._counts[State.QUEUED]

    @property
    def settled(self) -> int:
        """Return how many images have their outcome."""
        return sum(self._counts[state] for state in FINAL_STATES)

    @property
    def unsettled(self) -> int:
        """Return how many images still need work."""
        return self.waiting + self._counts[State.RUNNING]

    def wait_for_movement(self) -> float:
        """Wait until one more image has its outcome than at the next poll; return the seconds that took."""
        began = time.monotonic()
        settled: int | None = None
        while time.monotonic() - began < STUCK_SECONDS:
            if self._looked_at > began:
                if settled is not None and self.settled > settled:
                    return time.monotonic() - began
                settled = self.settled if settled is None else settled
            time.sleep(0.01)
        raise ChaosFailed(f"No image got its outcome within {STUCK_SECONDS:.0f} s; {self.waiting} wait.")

    def wait_until_all_are_settled(self, seconds: float) -> bool:
        """Wait until no image needs work; return False on timeout."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self._looked_at > began and self.unsettled == 0:
                return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()
        self.join()
