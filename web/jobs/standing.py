"""The status of a job in one place: words, bar and percent for both its page and the list."""

from dataclasses import dataclass

from shared.states import State
from web.frame import words
from web.jobs.progress import FINISHED, RECEIVING, Progress
from web.languages.text import count, plural, translate


@dataclass(frozen=True)
class Standing:
    """The status shown on a job's page and in its row."""

    kind: str
    """The state that determines the colour: RECEIVING, SCREENING, FINISHED, CANCELLED or FAILED."""
    icon: str
    text: str
    end: int
    """Images of the job, or announced ones if those are more."""
    ended: int
    """Images that ended other than by cancellation."""
    missing: int
    """Announced images that never arrived, once the upload has ended."""
    percent: float


def standing(progress: Progress) -> Standing:
    """Describe a job so that neither a cancelled nor an incomplete one reads as finished."""
    end = max(progress.expected or 0, progress.received)
    missing = 0 if progress.state == RECEIVING else end - progress.received
    # Images already removed by a running deletion had ended.
    ended = progress.settled - progress.counts[State.CANCELLED] + progress.received - progress.total
    kind, icon, text = _say(progress, end, missing)
    percent = 100.0 * ended / end if end else 100.0 * (progress.state == FINISHED)
    return Standing(kind, icon, text, end, ended, missing, percent)


def _say(progress: Progress, end: int, missing: int) -> tuple[str, str, str]:
    if progress.state == FINISHED and progress.counts[State.CANCELLED]:
        return "CANCELLED", "CANCELLED", _cancelled(progress.counts[State.DONE], end)
    if progress.state == FINISHED and missing:
        return "FAILED", "FAILED", _incomplete(missing, end)
    if missing:
        return progress.state, "RUNNING", _screening(missing, end)
    icon = "DONE" if progress.state == FINISHED else "RUNNING"
    return progress.state, icon, translate(words.JOB_STATES[progress.state].name)


def _cancelled(done: int, end: int) -> str:
    return plural(
        end,
        "Cancelled, %(done)s of %(count)s screened",
        "Cancelled, %(done)s of %(count)s screened",
        done=count(done),
    )


def _incomplete(missing: int, end: int) -> str:
    return plural(
        end,
        "Incomplete, %(missing)s of %(count)s X-ray was not received",
        "Incomplete, %(missing)s of %(count)s X-rays were not received",
        missing=count(missing),
    )


def _screening(missing: int, end: int) -> str:
    return plural(
        end,
        "Screening, %(missing)s of %(count)s X-ray was not received",
        "Screening, %(missing)s of %(count)s X-rays were not received",
        missing=count(missing),
    )
