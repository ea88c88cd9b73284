"""The contents of reports, gathered before the PDF libraries are loaded."""

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
"""The most images in the table of results, some 15 pages; the CSV of a job has all."""
MOST_REFUSED: Final = 200
"""The most images in the table of those without a result."""


@dataclass(frozen=True)
class Picture:
    """The picture of an image as JPEG, or the reason why there is none."""

    data: bytes | None
    problem: str = ""


@dataclass(frozen=True)
class JobContents:
    """The content of a job's report, as its viewer may see it."""

    job: Job
    progress: Progress
    labels: Mapping[Label, int]
    reasons: Sequence[tuple[str, int]]
    """Rejection codes, and the number of images of each."""
    answered: Sequence[ScreeningSummary]
    """The most suspicious first, at most MOST_LISTED."""
    missing: Sequence[ScreeningSummary]
    """Images that ended without a prediction, by position, at most MOST_REFUSED."""

    @property
    def hidden(self) -> int:
        """Count the results that the viewer may not see yet."""
        return count_hidden(self.progress, self.labels)
