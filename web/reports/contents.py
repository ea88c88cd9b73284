"""What reports are made of, gathered before the libraries that write them are loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.models.spec import Label
from shared.states import State
from shared.tables import Job
from web.jobs.progress import Progress, count_hidden
from web.lists.listing import ScreeningSummary

ENDED_WITHOUT: Final = (State.REJECTED, State.FAILED, State.CANCELLED)
MOST_LISTED: Final = 500
"""Images in the table of answers, some 15 sheets; the CSV of a job has all."""
MOST_REFUSED: Final = 200
"""Images in the table of those without one."""


@dataclass(frozen=True)
class Picture:
    """The picture of an image as JPEG, or why there is none."""

    data: bytes | None
    problem: str = ""


@dataclass(frozen=True)
class JobContents:
    """What the report of a job says, as its viewer may see it."""

    job: Job
    progress: Progress
    labels: Mapping[Label, int]
    reasons: Sequence[tuple[str, int]]
    """Codes of what was refused, and how many images of each."""
    answered: Sequence[ScreeningSummary]
    """The most suspicious first, at most MOST_LISTED."""
    missing: Sequence[ScreeningSummary]
    """What ended without an answer, by position, at most MOST_REFUSED."""

    @property
    def hidden(self) -> int:
        """Count the answers that the viewer may not see yet."""
        return count_hidden(self.progress, self.labels)
