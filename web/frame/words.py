"""The texts of the pages: one name and one sentence for each state, label, cause and condition.

The texts of refusals are in `shared.refusals`. The tables hold the English texts; they are translated when shown.

Templates and the help page read these tables, so a new state or code without a text fails a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared import refusals
from shared.models.spec import ImageClass, Label
from shared.refusals import OF_THE_GATE, Explanation, Scalar
from shared.states import State
from shared.tables import Finding, ReviewOutcome, ReviewState, Role
from web.base.conditions import Check, Condition
from web.base.suspicion import FLAGS
from web.languages.text import N_, NC_, _


@dataclass(frozen=True)
class Words:
    """The name of a thing, what it means and what to do about it."""

    name: str
    meaning: str
    action: str = ""


STATES: Final[dict[State, Words]] = {
    State.QUEUED: Words(
        N_("Waiting"), N_("The X-ray is stored and is waiting for a free worker."), N_("Nothing to do.")
    ),
    State.RUNNING: Words(NC_("an X-ray", "Screening"), N_("A worker is reading the X-ray now."), N_("Nothing to do.")),
    State.DONE: Words(N_("Done"), N_("The model has given a result."), N_("Open the X-ray and read it yourself.")),
    State.REJECTED: Words(
        NC_("an X-ray", "Refused"),
        N_("This file cannot be screened. The rest of its job goes on."),
        N_("See the reason, then send a new copy."),
    ),
    State.FAILED: Words(
        NC_("an X-ray", "Failed"),
        N_("The workers stopped several times on this X-ray, so it was set aside."),
        N_("Press Retry on the job page. If it fails again, tell support."),
    ),
    State.CANCELLED: Words(
        NC_("an X-ray", "Cancelled"),
        N_("Someone cancelled the job before this X-ray was read."),
        N_("Press Retry on the job page to screen it."),
    ),
}

COUNTED: Final[dict[State, str]] = {
    State.REJECTED: NC_("a number of X-rays", "Refused"),
    State.FAILED: NC_("a number of X-rays", "Failed"),
    State.CANCELLED: NC_("a number of X-rays", "Cancelled"),
}
"""Names of X-rays without a result, beside their number."""

JOB_STATES: Final[dict[str, Words]] = {
    "RECEIVING": Words(N_("Receiving"), N_("X-rays are still being uploaded.")),
    "SCREENING": Words(NC_("a job", "Screening"), N_("All X-rays have arrived. Some are still waiting or being read.")),
    "FINISHED": Words(
        N_("Finished"), N_("No X-ray of the job is still waiting. If the upload ended early, the job page says so.")
    ),
}

CHECKS: Final[dict[Check, str]] = {
    Check.DATABASE: N_("Database"),
    Check.STORE: N_("Image store"),
    Check.DISK: N_("Disk"),
    Check.QUEUE: N_("Queue"),
    Check.BROKER: N_("Broker (Redis)"),
    Check.MODEL: N_("Model"),
    Check.WORKERS: N_("Workers"),
    Check.SCREENING: NC_("a part of the program", "Screening"),
}

_STARTS_ITSELF = N_("Tell support. Screening resumes by itself once this is fixed.")

CONDITIONS: Final[dict[Condition, Words]] = {
    Condition.OK: Words(N_("Works"), N_("It works as it should."), N_("Nothing to do.")),
    Condition.IDLE: Words(
        N_("Idle"), N_("Nothing is waiting; the workers are ready for the next X-ray."), N_("Nothing to do.")
    ),
    Condition.UNKNOWN: Words(
        N_("Not known"),
        N_("This cannot be checked while another part does not answer."),
        N_("Look at the other parts here."),
    ),
    Condition.QUEUE_FULL: Words(
        N_("Queue full"),
        N_(
            "The queue has reached its limit. Uploads resume by themselves when there is room; "
            "a few X-rays at a time are still accepted."
        ),
        N_("Leave the upload page open, or send again later."),
    ),
    Condition.BROKER_AWAY: Words(
        N_("Redis unavailable"),
        N_("Redis does not answer, so the workers get no work. X-rays are accepted and kept."),
        _STARTS_ITSELF,
    ),
    Condition.NO_MODEL: Words(
        N_("No model"),
        N_("The model is missing or damaged. X-rays are accepted and kept, but not screened."),
        _STARTS_ITSELF,
    ),
    Condition.NO_WORKER: Words(
        N_("No worker"),
        N_("No worker is running. X-rays are accepted and kept, but not screened."),
        N_("Start pneumoscreen serve or a worker on the server, or tell support."),
    ),
    Condition.MODEL_NOT_SERVED: Words(
        N_("Model not served"),
        N_("X-rays are waiting for a model that no running worker has loaded. Others are screened."),
        N_("Start a worker with that model, or cancel those jobs and send their X-rays again."),
    ),
    Condition.NO_PROGRESS: Words(
        N_("No progress"),
        N_("X-rays are waiting and workers are running, but nothing is being screened."),
        _STARTS_ITSELF,
    ),
    Condition.DISK_LOW: Words(
        N_("Disk low"),
        N_("The server's disk is nearly full, so no X-ray is accepted. Accepted X-rays are still screened."),
        N_("Free disk space on the server, or tell support. Uploads then resume by themselves."),
    ),
    Condition.STORE_AWAY: Words(
        N_("Image store unavailable"),
        N_("The image store cannot be reached: no X-ray can be accepted, screened or shown."),
        _STARTS_ITSELF,
    ),
    Condition.DATABASE_AWAY: Words(
        N_("Database unavailable"),
        N_("The database does not answer: nothing can be accepted or shown."),
        _STARTS_ITSELF,
    ),
}

LABELS: Final[dict[Label, Words]] = {
    Label.NORMAL: Words(FLAGS[Label.NORMAL], N_("The suspicion is below the threshold of the model.")),
    Label.PNEUMONIA: Words(FLAGS[Label.PNEUMONIA], N_("The suspicion is at or above the threshold of the model.")),
}

CLASSES: Final[dict[ImageClass, str]] = {
    ImageClass.NORMAL: N_("Normal"),
    ImageClass.BACTERIAL: N_("Bacterial pneumonia"),
    ImageClass.VIRAL: N_("Viral pneumonia"),
    ImageClass.PNEUMONIA: N_("Pneumonia"),
}

OUTCOMES: Final[dict[ReviewOutcome, str]] = {
    ReviewOutcome.AGREE: N_("Agreed with the model"),
    ReviewOutcome.OVERRULE: N_("Overruled the model"),
    ReviewOutcome.INADEQUATE: N_("Technically inadequate"),
    ReviewOutcome.SECOND_READER: N_("Asked for a second reader"),
    ReviewOutcome.WITHDRAWN: N_("Undid the review"),
}

FINDINGS: Final[dict[Finding, str]] = {
    Finding.NORMAL: N_("Normal"),
    Finding.BACTERIAL: N_("Bacterial pneumonia"),
    Finding.VIRAL: N_("Viral pneumonia"),
    Finding.UNCLEAR: N_("Pneumonia, cause unclear"),
    Finding.OTHER: N_("Other finding"),
}

FINDING_KEYS: Final[dict[Finding, str]] = {
    Finding.NORMAL: N_("Normal"),
    Finding.BACTERIAL: N_("Bacterial"),
    Finding.VIRAL: N_("Viral"),
    Finding.UNCLEAR: N_("Cause unclear"),
    Finding.OTHER: N_("Other finding"),
}
"""The same on buttons, where they appear together."""

REVIEW_STATES: Final[dict[ReviewState, str]] = {
    ReviewState.UNREAD: N_("Not read yet"),
    ReviewState.READ: N_("Read"),
    ReviewState.DISAGREED: N_("Disagreed"),
    ReviewState.SECOND_READER: N_("Waiting for a second reader"),
    ReviewState.INADEQUATE: N_("Technically inadequate"),
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
"""Keyboard shortcut for each thing that a reader can say of an image."""


ROLES: Final[dict[Role, str]] = {
    Role.TECHNICIAN: N_("technician"),
    Role.READER: N_("reader"),
    Role.ADMIN: N_("admin"),
}


def explain(code: str, details: Mapping[str, Scalar] | None = None) -> Explanation:
    """Explain a code of `shared.refusals` and its parameters in the reader's language."""
    return refusals.explain(code, details, translate=_)


def name_refusal(code: str) -> str:
    """Return the short name of a code of `shared.refusals`."""
    return explain(code).name


def is_of_the_gate(code: str | None) -> bool:
    """Tell whether an image can be shown although it was refused, because the model is not made for it."""
    return code in OF_THE_GATE


def refused(detail: str, name: Callable[[str], str]) -> str:
    """Describe an unusable value of a form or an address; `detail` begins with the field's name."""
    field, _colon, rest = detail.partition(": ")
    if field == "cursor":
        return _("This page of the list cannot be found. Open the list again and go to the page from there.")
    if field == "files":
        return _("No X-ray was chosen. Go back, choose at least one X-ray and send it again.")
    if not rest or not field.isidentifier():
        return detail
    # Translators: a field of a form, and what is wrong with what it holds.
    return _("%(field)s: %(problem)s", field=name(field), problem=rest)


def is_likely(p_pneumonia: float) -> bool:
    """Tell whether pneumonia is likelier than not; a low threshold flags others too, but no cause is valid then."""
    return p_pneumonia >= 0.5
