"""The words of the pages: one name and one sentence for each state, label, cause and rejection.

Templates and the help page read these tables, so a new state or code without words fails a test, not a reader.
"""

from dataclasses import dataclass
from typing import Final

from shared.errors import OF_THE_GATE, Rejection
from shared.models.spec import FilmClass, Label
from shared.queue.leases import LOST_CODE, UNREADABLE_CODE
from shared.states import State
from web.base.conditions import Check, Condition


@dataclass(frozen=True)
class Words:
    """What a thing is called, what it means and what to do about it."""

    name: str
    meaning: str
    action: str = ""


STATES: Final[dict[State, Words]] = {
    State.QUEUED: Words("Waiting", "The film is stored and waits for a free worker.", "Nothing to do."),
    State.RUNNING: Words("Screening", "A worker is reading the film now.", "Nothing to do."),
    State.DONE: Words("Done", "The model has given a result.", "Open the film and read it yourself."),
    State.REJECTED: Words(
        "Rejected",
        "This file cannot be screened. The rest of its job goes on.",
        "See the reason, then send a new copy.",
    ),
    State.FAILED: Words(
        "Failed",
        "The workers stopped several times on this film, so it was set aside.",
        "Press Retry on the job page. If it fails again, tell support.",
    ),
    State.CANCELLED: Words(
        "Cancelled", "Someone cancelled the job before this film was read.", "Press Retry on the job page to screen it."
    ),
}

JOB_STATES: Final[dict[str, Words]] = {
    "RECEIVING": Words("Receiving", "Films are still being uploaded."),
    "SCREENING": Words("Screening", "All films are here. Some still wait or are being read."),
    "FINISHED": Words("Finished", "Every film has ended: done, rejected or failed. A job that was cut short says so."),
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

_STARTS_ITSELF = "Tell support. Screening goes on by itself once that is put right."

CONDITIONS: Final[dict[Condition, Words]] = {
    Condition.OK: Words("Works", "It works as it should.", "Nothing to do."),
    Condition.IDLE: Words("Idle", "Nothing waits; workers are ready for the next film.", "Nothing to do."),
    Condition.UNKNOWN: Words(
        "Not known", "It cannot be told while another part does not answer.", "See what else stands here."
    ),
    Condition.QUEUE_FULL: Words(
        "Queue full",
        "As many films wait as may. Uploads wait and go on by themselves; a few films at a time still go in at once.",
        "Leave the page that uploads open, or send again later.",
    ),
    Condition.BROKER_AWAY: Words(
        "Broker away", "Redis does not answer, so nobody can call the workers. Films are taken and kept.",
        _STARTS_ITSELF,
    ),
    Condition.NO_MODEL: Words(
        "No model", "The model is missing or damaged. Films are taken and kept; nothing is screened.", _STARTS_ITSELF
    ),
    Condition.NO_WORKER: Words(
        "No worker", "No worker is running. Films are taken and kept; nothing is screened.",
        "Start pneumoscreen serve or a worker on the server, or tell support.",
    ),
    Condition.MODEL_NOT_SERVED: Words(
        "Model not served", "Films wait for a model that no running worker has loaded. Other films are screened.",
        "Start a worker with that model, or cancel those jobs and send their films again.",
    ),
    Condition.NO_PROGRESS: Words(
        "No progress", "Films wait and workers are there, but nothing has been screened for a while.", _STARTS_ITSELF
    ),
    Condition.DISK_LOW: Words(
        "Disk low", "The server's disk has too little room left, so no film is taken. What was accepted goes on.",
        "Free disk space on the server, or tell support. Uploads go on by themselves then.",
    ),
    Condition.STORE_AWAY: Words(
        "Store away", "The image store cannot be reached: no film can be taken, screened or shown.", _STARTS_ITSELF
    ),
    Condition.DATABASE_AWAY: Words(
        "Database away", "The database does not answer: nothing can be taken or shown.", _STARTS_ITSELF
    ),
}  # fmt: skip

LABELS: Final[dict[Label, Words]] = {
    Label.NORMAL: Words("Normal", "The probability of pneumonia is below the threshold of the model."),
    Label.PNEUMONIA: Words("Pneumonia", "The probability of pneumonia is at or above the threshold of the model."),
}

CLASSES: Final[dict[FilmClass, str]] = {
    FilmClass.NORMAL: "Normal",
    FilmClass.BACTERIAL: "Bacterial pneumonia",
    FilmClass.VIRAL: "Viral pneumonia",
    FilmClass.PNEUMONIA: "Pneumonia",
}

CAUSES: Final[dict[FilmClass, str]] = {FilmClass.BACTERIAL: "bacterial", FilmClass.VIRAL: "viral"}

FILTERS: Final[dict[str, str]] = {
    "text": "File name contains",
    "label": "Label",
    "state": "State",
    "min_confidence": "Confidence from",
    "max_confidence": "Confidence to",
    "since": "Sent from (UTC)",
    "until": "Sent to (UTC)",
    "job": "Job",
    "model": "Model",
    "order": "Order",
    "cursor": "Page",
}

_RESEND = "Copy or export the film again from its source and send that."
_REZIP = "Make the ZIP again and send it, or send the films themselves."

REJECTIONS: Final[dict[str, Words]] = {
    Rejection.EMPTY_FILE: Words("Empty file", "The file has no content.", _RESEND),
    Rejection.UNKNOWN_FORMAT: Words(
        "Unknown format", "The content is no image of a format that is read, whatever the file is called.",
        "Export the film as JPEG or PNG and send that.",
    ),
    Rejection.UNREADABLE_IMAGE: Words("Damaged image", "The image inside the file is damaged.", _RESEND),
    Rejection.TRUNCATED_IMAGE: Words("Cut short", "The file ends before the image does.", _RESEND),
    Rejection.DAMAGED_SCAN: Words(
        "Damaged scan", "The compressed pixels are damaged: decoded, they would show something else.", _RESEND
    ),
    Rejection.SEVERAL_IMAGES: Words(
        "Several images", "The file holds several pages or frames.", "Send each image as a file of its own."
    ),
    Rejection.UNSUPPORTED_FORM: Words(
        "Unsupported form", "The image is not damaged, but of a form that is not read here.",
        "Export the film as an uncompressed or LZW TIFF, as PNG or as JPEG of 8 bits.",
    ),
    Rejection.NO_CONTENT: Words(
        "No content", "The image is blank, noise, a plain pattern or a drawing: it shows no radiograph.",
        "Open it in a viewer; if the exposure is there, export it again, otherwise leave it out.",
    ),
    Rejection.TOO_LARGE: Words(
        "File too large", "The file is over the size limit for one film.", "Export the film at its own size."
    ),
    Rejection.TOO_MANY_PIXELS: Words(
        "Too many pixels", "The image is larger than any film.", "Export the film at its original size."
    ),
    Rejection.TOO_SMALL: Words(
        "Too small", "The image has too few pixels to be a film, as a preview or an icon has.",
        "Send the film itself, not its preview.",
    ),
    Rejection.DICOM_UNSUPPORTED: Words(
        "DICOM compression", "The DICOM file is compressed in a way that is not read here.", "Export it uncompressed."
    ),
    Rejection.NOT_A_RADIOGRAPH: Words(
        "Not a radiograph", "The DICOM file is something else than one CR, DX or RG film.",
        "Send the frontal chest radiograph.",
    ),
    Rejection.NO_LUNGS: Words(
        "No lungs found", "The model finds no pair of upright lungs on the image.",
        "Send the frontal chest radiograph, upright and whole.",
    ),
    Rejection.NOT_CHEST: Words(
        "Not a chest", "The image does not look like a frontal chest radiograph: another part of the body, a "
        "photograph, a screenshot or a picture of a screen.",
        "Look at the image. If it is a chest radiograph, export it from its source and send that; read it yourself.",
    ),
    Rejection.NOT_FRONTAL: Words(
        "Not frontal", "The DICOM header says that the view is not from the front or the back (AP, PA).",
        "Send the frontal radiograph of the same examination.",
    ),
    Rejection.ROTATED: Words(
        "Rotated", "The chest lies on its side or is upside down.", "Turn it as the reason says and send it again."
    ),
    Rejection.INVERTED: Words(
        "Inverted", "Black and white are exchanged: bones are dark and air is bright.", "Invert it and send it again."
    ),
    Rejection.CUT_OFF: Words(
        "Cut off", "A large part of the lungs is missing.", "Send the whole radiograph; otherwise read it yourself."
    ),
    Rejection.TOO_DARK: Words(
        "Too dark", "Nearly all of the image is dark.", "Export it with its ordinary window and send it again."
    ),
    Rejection.TOO_BRIGHT: Words(
        "Too bright", "Nearly all of the image is bright.", "Export it with its ordinary window and send it again."
    ),
    Rejection.OUTSIDE_INTENDED_USE: Words(
        "Outside intended use", "By its DICOM header the image is of a patient or a part of the body that the model "
        "is not made for.",
        "Read it yourself, or send it to a model that is made for it.",
    ),
    Rejection.FILM_MISSING: Words("Film missing", "The film is no longer in the image store.", "Send it again."),
    Rejection.FILM_DAMAGED: Words(
        "Film damaged", "The film's file in the image store is damaged or was changed.", "Send the film again."
    ),
    Rejection.ZIP_UNREADABLE: Words("Damaged ZIP", "The ZIP is damaged or incomplete.", _REZIP),
    Rejection.ZIP_TOO_MANY_ENTRIES: Words("Too many ZIP entries", "The ZIP holds too many files.", "Split it."),
    Rejection.ZIP_TOO_LARGE: Words("ZIP too large", "The ZIP would unpack to more than is taken.", "Split it."),
    Rejection.ZIP_EMPTY: Words("Empty ZIP", "The ZIP holds no file that could be a film.", _REZIP),
    Rejection.ZIP_ENTRY_BOMB: Words(
        "Suspicious ZIP entry", "The entry unpacks to far more than its size, as no film does.",
        "Check where the ZIP comes from, then send the film itself.",
    ),
    Rejection.ZIP_ENTRY_ENCRYPTED: Words(
        "Protected ZIP entry", "The entry is protected by a password.", "Make the ZIP again without one."
    ),
    Rejection.ZIP_ENTRY_NESTED: Words(
        "ZIP inside a ZIP", "A ZIP inside a ZIP is not opened.", "Unpack it and send the films themselves."
    ),
    Rejection.ZIP_ENTRY_UNSAFE_NAME: Words(
        "Unsafe ZIP entry", "The entry's name points outside the ZIP or the entry is a link.", _REZIP
    ),
    Rejection.ZIP_ENTRY_DAMAGED: Words("Damaged ZIP entry", "This entry of the ZIP cannot be unpacked.", _REZIP),
    Rejection.ZIP_ENTRY_UNSUPPORTED: Words(
        "ZIP compression", "The entry is packed by a method that is not read here.",
        "Make the ZIP again with the method Deflate.",
    ),
}  # fmt: skip

FAILURES: Final[dict[str, Words]] = {
    LOST_CODE: Words(
        "Worker lost",
        "The worker stopped or failed several times while it read this film.",
        "Press Retry on the job page. If it fails again, tell support.",
    ),
    UNREADABLE_CODE: Words(
        "File not readable",
        "The film's file in the image store could not be read several times, while other files could.",
        "Tell support; then press Retry on the job page, or send the film again.",
    ),
}


def explain(code: str | None) -> Words | None:
    """Return the words for an error code; None where the code is unknown or there is none."""
    if code is None:
        return None
    return REJECTIONS.get(code) or FAILURES.get(code)


def is_of_the_gate(code: str | None) -> bool:
    """Tell whether an image can be shown although it was refused: the model is not for it."""
    return code in OF_THE_GATE


def refused(detail: str) -> str:
    """Say to a person what a form or an address held that cannot be used; `detail` names the field for a program."""
    field, _, rest = detail.partition(": ")
    if field == "cursor":
        return "The address names a page of a list that cannot be found. Open the list again and turn its pages there."
    if field == "files":
        return "No film was chosen. Go back, choose at least one film and send it again."
    return f"{FILTERS[field]}: {rest}" if field in FILTERS else detail


def is_likely(p_pneumonia: float) -> bool:
    """Tell whether pneumonia is likelier than not; a low threshold labels films where it is not, and no cause holds."""
    return p_pneumonia >= 0.5
