"""The words of the pages: one name and one sentence for each state, label, cause and condition.

The words of refusals are made by `shared.refusals`.

Templates and the help page read these tables, so a new state or code without words fails a test, not a reader.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.models.spec import ImageClass, Label
from shared.refusals import OF_THE_GATE, Rejection, explain
from shared.states import State
from shared.tables import Finding, ReviewOutcome, ReviewState
from web.base.conditions import Check, Condition
from web.base.suspicion import FLAGS


@dataclass(frozen=True)
class Words:
    """What a thing is called, what it means and what to do about it."""

    name: str
    meaning: str
    action: str = ""


STATES: Final[dict[State, Words]] = {
    State.QUEUED: Words("Waiting", "The X-ray is stored and is waiting for a free worker.", "Nothing to do."),
    State.RUNNING: Words("Screening", "A worker is reading the X-ray now.", "Nothing to do."),
    State.DONE: Words("Done", "The model has given a result.", "Open the X-ray and read it yourself."),
    State.REJECTED: Words(
        "Rejected",
        "This file cannot be screened. The rest of its job goes on.",
        "See the reason, then send a new copy.",
    ),
    State.FAILED: Words(
        "Failed",
        "The workers stopped several times on this X-ray, so it was set aside.",
        "Press Retry on the job page. If it fails again, tell support.",
    ),
    State.CANCELLED: Words(
        "Cancelled",
        "Someone cancelled the job before this X-ray was read.",
        "Press Retry on the job page to screen it.",
    ),
}

JOB_STATES: Final[dict[str, Words]] = {
    "RECEIVING": Words("Receiving", "X-rays are still being uploaded."),
    "SCREENING": Words("Screening", "All X-rays have arrived. Some are still waiting or being read."),
    "FINISHED": Words("Finished", "No X-ray of the job still waits. Where the upload ended early, it says so."),
}

CHECKS: Final[dict[Check, str]] = {
    Check.DATABASE: "Database",
    Check.STORE: "Image store",
    Check.DISK: "Disk",
    Check.QUEUE: "Queue",
    Check.BROKER: "Broker (Redis)",
    Check.MODEL: "Model",
    Check.WORKERS: "Workers",
    Check.SCREENING: "Screening",
}

_STARTS_ITSELF = "Tell support. Screening goes on by itself once this is fixed."

CONDITIONS: Final[dict[Condition, Words]] = {
    Condition.OK: Words("Works", "It works as it should.", "Nothing to do."),
    Condition.IDLE: Words("Idle", "Nothing is waiting; the workers are ready for the next X-ray.", "Nothing to do."),
    Condition.UNKNOWN: Words(
        "Not known", "This cannot be checked while another part does not answer.", "Look at the other parts here."
    ),
    Condition.QUEUE_FULL: Words(
        "Queue full",
        "The queue is at its limit. Uploads go on by themselves when there is room; a few X-rays still go in.",
        "Leave the upload page open, or send again later.",
    ),
    Condition.BROKER_AWAY: Words(
        "Broker away", "Redis does not answer, so the workers get no work. X-rays are accepted and kept.",
        _STARTS_ITSELF,
    ),
    Condition.NO_MODEL: Words(
        "No model", "The model is missing or damaged. X-rays are accepted and kept, but not screened.", _STARTS_ITSELF
    ),
    Condition.NO_WORKER: Words(
        "No worker", "No worker is running. X-rays are accepted and kept, but not screened.",
        "Start pneumoscreen serve or a worker on the server, or tell support.",
    ),
    Condition.MODEL_NOT_SERVED: Words(
        "Model not served", "X-rays are waiting for a model that no running worker has loaded. Others are screened.",
        "Start a worker with that model, or cancel those jobs and send their X-rays again.",
    ),
    Condition.NO_PROGRESS: Words(
        "No progress", "X-rays are waiting and workers are running, but nothing is being screened.", _STARTS_ITSELF
    ),
    Condition.DISK_LOW: Words(
        "Disk low", "The server's disk is nearly full, so no X-ray is accepted. Accepted X-rays are still screened.",
        "Free disk space on the server, or tell support. Uploads then go on by themselves.",
    ),
    Condition.STORE_AWAY: Words(
        "Store away", "The image store cannot be reached: no X-ray can be accepted, screened or shown.", _STARTS_ITSELF
    ),
    Condition.DATABASE_AWAY: Words(
        "Database away", "The database does not answer: nothing can be accepted or shown.", _STARTS_ITSELF
    ),
}  # fmt: skip

LABELS: Final[dict[Label, Words]] = {
    Label.NORMAL: Words(FLAGS[Label.NORMAL], "The suspicion is below the threshold of the model."),
    Label.PNEUMONIA: Words(FLAGS[Label.PNEUMONIA], "The suspicion is at or above the threshold of the model."),
}

CLASSES: Final[dict[ImageClass, str]] = {
    ImageClass.NORMAL: "Normal",
    ImageClass.BACTERIAL: "Bacterial pneumonia",
    ImageClass.VIRAL: "Viral pneumonia",
    ImageClass.PNEUMONIA: "Pneumonia",
}

CAUSES: Final[dict[ImageClass, str]] = {ImageClass.BACTERIAL: "bacterial", ImageClass.VIRAL: "viral"}

OUTCOMES: Final[dict[ReviewOutcome, str]] = {
    ReviewOutcome.AGREE: "Agreed with the model",
    ReviewOutcome.OVERRULE: "Overruled the model",
    ReviewOutcome.INADEQUATE: "Technically inadequate",
    ReviewOutcome.SECOND_READER: "Asked for a second reader",
    ReviewOutcome.WITHDRAWN: "Undid the review",
}

FINDINGS: Final[dict[Finding, str]] = {
    Finding.NORMAL: "Normal",
    Finding.BACTERIAL: "Bacterial pneumonia",
    Finding.VIRAL: "Viral pneumonia",
    Finding.UNCLEAR: "Pneumonia, cause unclear",
    Finding.OTHER: "Other finding",
}

FINDING_KEYS: Final[dict[Finding, str]] = {
    Finding.NORMAL: "Normal",
    Finding.BACTERIAL: "Bacterial",
    Finding.VIRAL: "Viral",
    Finding.UNCLEAR: "Cause unclear",
    Finding.OTHER: "Other finding",
}
"""The same on buttons, where they stand together."""

REVIEW_STATES: Final[dict[ReviewState, str]] = {
    ReviewState.UNREAD: "Not read yet",
    ReviewState.READ: "Read",
    ReviewState.DISAGREED: "Disagreed",
    ReviewState.SECOND_READER: "Waits for a second reader",
    ReviewState.INADEQUATE: "Technically inadequate",
}

REVIEW_KEYS: Final[dict[ReviewOutcome | Finding, str]] = {
    ReviewOutcome.AGREE: "a",
    Finding.NORMAL: "n",
    Finding.BACTERIAL: "b",
    Finding.VIRAL: "v",
    Finding.UNCLEAR: "c",
    Finding.OTHER: "o",
    ReviewOutcome.INADEQUATE: "t",
    ReviewOutcome.SECOND_READER: "s",
}
"""One key for each thing that a reader can say of an image."""


def name_refusal(code: str) -> str:
    """Return the short name of a code of `shared.refusals`."""
    return explain(code).name


def is_of_the_gate(code: str | None) -> bool:
    """Tell whether an image can be shown although it was refused: the model is not for it."""
    return code in OF_THE_GATE


PUT_RIGHT: Final = {
    Rejection.ROTATED: "turned upright",
    Rejection.INVERTED: "with black and white exchanged",
}
"""How an image is put right before a score that a reader asked for is found."""


def refused(detail: str, name: Callable[[str], str]) -> str:
    """Say to a person what a form or an address held that cannot be used; `detail` begins with the field's name."""
    field, _, rest = detail.partition(": ")
    if field == "cursor":
        return "This page of the list cannot be found. Open the list again and go to the page from there."
    if field == "files":
        return "No X-ray was chosen. Go back, choose at least one X-ray and send it again."
    return f"{name(field)}: {rest}" if rest and field.isidentifier() else detail


def is_likely(p_pneumonia: float) -> bool:
    """Tell whether pneumonia is likelier than not; a low threshold labels some where it is not, and no cause holds."""
    return p_pneumonia >= 0.5
