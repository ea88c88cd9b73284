"""Measure the backlog and the processing speed for admission, from rows, not Redis."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db import first_id, now
from shared.states import State
from shared.tables import Prediction, Priority, Screening, in_states

# Long enough to hold several micro-batches of a slow worker, short enough to follow a change of speed.
SPEED_WINDOW: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class Backlog:
    """Images that wait for a worker."""

    interactive: int
    bulk: int

    @property
    def images(self) -> int:
        """Return the total number."""
        return self.interactive + self.bulk

    def plus(self, priority: Priority, images: int) -> "Backlog":
        """Return the backlog with more images of a priority."""
        if priority is Priority.INTERACTIVE:
            return replace(self, interactive=self.interactive + images)
        return replace(self, bulk=self.bulk + images)


def count_backlog(session: Session) -> Backlog:
    """Count waiting images by their index: 100,000 take 50 ms on SQLite."""
    waiting = select(Screening.priority, func.count()).where(in_states([State.QUEUED])).group_by(Screening.priority)
    images = dict(session.execute(waiting).all())
    interactive = images.pop(Priority.INTERACTIVE, 0)
    return Backlog(interactive, sum(images.values()))


def measure_speed(session: Session) -> float:
    """Return the images a second that workers predicted recently, 0 where there were none.

    An image settled by an earlier prediction is not counted; it takes next to no time.
    """
    at = now()
    lately = select(func.count(), func.min(Prediction.created_at)).where(Prediction.id >= first_id(at - SPEED_WINDOW))
    images, first_at = session.execute(lately).one()
    if not images:
        return 0.0
    return float(images / max(1.0, min(SPEED_WINDOW, at - first_at).total_seconds()))
