"""The errors that PneumoScreen raises on purpose.

PneumoScreenError
|-- FilmRejected        this one file cannot be screened; the rest of its job goes on
|-- UploadRefused       the whole request is over a limit
|-- StoreFull           the image store has no room left
|-- StoreAway           the image store cannot be reached; no film is to blame
|-- TryLater            no film is taken for a while; says when to come back
|   |-- QueueFull       as many films wait as may
|   `-- DiskLow         the disk has too little room left
|-- DatabaseBusy        transactions went on colliding with others; nothing was written
|-- StoreMisconfigured  a setting of the image store cannot be used
|-- JobUnfinished       a job that still goes on cannot be deleted
|-- KeyReused           an idempotency key came again with another request
|-- JobClosed           films were sent to a job whose upload has ended
|-- DecoderAway         the process that decodes compressed images cannot be used; no film is to blame
|-- ModelUnavailable    a model folder is missing, damaged or not what its spec says
`-- BrokerAway          Redis did not answer; the sweep rings again later
"""

from enum import StrEnum
from typing import Final


class PneumoScreenError(Exception):
    """Stand at the root of every error raised on purpose."""


class Rejection(StrEnum):
    """Why a film cannot be screened; the value is the code in tables, API, pages and docs."""

    EMPTY_FILE = "empty_file"
    UNKNOWN_FORMAT = "unknown_format"
    UNREADABLE_IMAGE = "unreadable_image"
    TRUNCATED_IMAGE = "truncated_image"
    DAMAGED_SCAN = "damaged_scan"
    SEVERAL_IMAGES = "several_images"
    UNSUPPORTED_FORM = "unsupported_form"
    NO_CONTENT = "no_content"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    DICOM_UNSUPPORTED = "dicom_unsupported"
    NOT_A_RADIOGRAPH = "not_a_radiograph"
    NO_LUNGS = "no_lungs"
    NOT_CHEST = "not_chest"
    NOT_FRONTAL = "not_frontal"
    ROTATED = "rotated"
    INVERTED = "inverted"
    CUT_OFF = "cut_off"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    OUTSIDE_INTENDED_USE = "outside_intended_use"
    FILM_MISSING = "film_missing"
    FILM_DAMAGED = "film_damaged"
    ZIP_UNREADABLE = "zip_unreadable"
    ZIP_TOO_MANY_ENTRIES = "zip_too_many_entries"
    ZIP_TOO_LARGE = "zip_too_large"
    ZIP_EMPTY = "zip_empty"
    ZIP_ENTRY_BOMB = "zip_entry_bomb"
    ZIP_ENTRY_ENCRYPTED = "zip_entry_encrypted"
    ZIP_ENTRY_NESTED = "zip_entry_nested"
    ZIP_ENTRY_UNSAFE_NAME = "zip_entry_unsafe_name"
    ZIP_ENTRY_DAMAGED = "zip_entry_damaged"
    ZIP_ENTRY_UNSUPPORTED = "zip_entry_unsupported"


OF_THE_GATE: Final = frozenset({
    Rejection.NOT_CHEST, Rejection.NOT_FRONTAL, Rejection.ROTATED, Rejection.INVERTED, Rejection.CUT_OFF,
    Rejection.TOO_DARK, Rejection.TOO_BRIGHT, Rejection.OUTSIDE_INTENDED_USE,
})  # fmt: skip
"""Images that can be shown, but that the model is not for; a site may let them pass."""


class FilmRejected(PneumoScreenError):
    """Say that one file cannot be screened, in words that a technician can act on."""

    def __init__(self, code: Rejection, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UploadRefused(PneumoScreenError):
    """Refuse a whole request because it is over a stated limit."""


class StoreFull(PneumoScreenError):
    """Say that the image store has no room left for a film."""


class StoreAway(PneumoScreenError):
    """Say that the image store cannot be reached."""


class TryLater(PneumoScreenError):
    """Refuse films for a while, and say in how many seconds they are worth sending again."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(TryLater):
    """Say that as many films wait as may."""


class DiskLow(TryLater):
    """Say that a disk has less room left than is kept for what was accepted."""


class DatabaseBusy(PneumoScreenError):
    """Say that a transaction lost against others again and again."""


class StoreMisconfigured(PneumoScreenError):
    """Say which setting of the image store cannot be used."""


class KeyReused(PneumoScreenError):
    """Say that an idempotency key was used for another request before."""

    def __init__(self) -> None:
        super().__init__(
            "This key was used for another request before, and nothing of this one was kept. Send it under a new key."
        )


class JobClosed(PneumoScreenError):
    """Say that a job takes no more films."""


class JobUnfinished(PneumoScreenError):
    """Say that a job cannot be deleted before it has finished."""


class DecoderAway(PneumoScreenError):
    """Say that the process that decodes compressed images cannot be used."""


class ModelUnavailable(PneumoScreenError):
    """Say which model cannot be served and why."""


class BrokerAway(PneumoScreenError):
    """Say that Redis did not answer."""
