"""The errors that PneumoScreen raises on purpose.

PneumoScreenError
-- TranslatableError   pages show it in the reader's language
-- ActivationRefused  the setting is in force already, or cannot be put in force
-- DatabaseBusy       a transaction kept conflicting with others; nothing was written
|   |-- DecoderAway        the process that decodes compressed images cannot be used; no image is to blame
-- JobClosed          images were sent to a job whose upload has ended
-- JobUnfinished      an unfinished job cannot be deleted
-- KeyReused          an idempotency key was sent again with another request
|   |-- ModelUnavailable   a model folder is missing, damaged or not what its spec says
-- NothingToWithdraw  a reader has no review that could be undone
-- NotReviewable      there is no image, or no prediction to agree or disagree with
-- ReviewOutdated     another reader's review came in before this one, unseen
|   |-- StoreAway          the image store cannot be reached; no image is to blame
|   |-- StoreFull          the image store has no room left
`-- TryLater           no image is accepted for a while; says when to try again
|       |-- QueueFull      the queue is at its limit
|       `-- DiskLow        the disk has too little room left
-- ImageRejected        this one file cannot be screened; the rest of its job continues
|-- UploadRefused       the whole request is over a limit
|-- StoreMisconfigured  a setting of the image store cannot be used
`-- BrokerAway          Redis did not answer; the sweep sends tickets later
"""

from typing import Self

from shared.refusals import Details, Rejection, Scalar


class PneumoScreenError(Exception):
    """Be the base class of every error raised on purpose."""


class TranslatableError(PneumoScreenError):
    """Hold an English text that pages show in the reader's language (`web.languages.text.say`).

    `values` fill in the text; one may itself be such an error. Whole numbers get separators, others one decimal.
    """

    def __init__(self, text: str, **values: object) -> None:
        written = {name: _in_english(value) for name, value in values.items()}
        super().__init__(text % written if values else text)
        self.text = text
        self.values = values


def _in_english(value: object) -> object:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else value


class ImageRejected(PneumoScreenError):
    """Say that one file cannot be screened: a code and its parameters; `shared.refusals.explain` makes the text.

    Its `str` is the code and the parameters, for logs.
    """

    def __init__(self, code: Rejection, **details: Scalar) -> None:
        super().__init__(" ".join([code.value, *(f"{name}={value!r}" for name, value in details.items())]))
        self.code = code
        self.details = details

    @classmethod
    def stored(cls, code: str | None, details: Details | None) -> Self:
        """Return the refusal that a row holds."""
        return cls(Rejection(code or ""), **details or {})


class UploadRefused(PneumoScreenError):
    """Refuse a whole request because it is over a stated limit."""


class StoreFull(TranslatableError):
    """Say that the image store has no room left for an image."""


class StoreAway(TranslatableError):
    """Say that the image store cannot be reached."""


class TryLater(TranslatableError):
    """Refuse images for a while, and say in how many seconds to try again."""

    def __init__(self, text: str, retry_after: int, **values: object) -> None:
        super().__init__(text, **values)
        self.retry_after = retry_after


class QueueFull(TryLater):
    """Say that the queue is at its limit."""


class DiskLow(TryLater):
    """Say that a disk has less free room than is reserved for accepted images."""


class DatabaseBusy(TranslatableError):
    """Say that a transaction kept conflicting with others."""


class StoreMisconfigured(PneumoScreenError):
    """Say which setting of the image store cannot be used."""


class KeyReused(TranslatableError):
    """Say that an idempotency key was used for another request before."""


class ReviewOutdated(TranslatableError):
    """Say that another reader's review came in that this reader had not seen."""


class NotReviewable(TranslatableError):
    """Say why an image cannot be reviewed, or not in this way."""


class NothingToWithdraw(TranslatableError):
    """Say that a reader has no review that could be undone."""


class ActivationRefused(TranslatableError):
    """Say why something cannot be put in force."""


class JobClosed(TranslatableError):
    """Say that a job accepts no more images."""


class JobUnfinished(TranslatableError):
    """Say that a job cannot be deleted before it has finished."""


class DecoderAway(TranslatableError):
    """Say that the process that decodes compressed images cannot be used."""


class ModelUnavailable(TranslatableError):
    """Say which model cannot be served and why."""


class BrokerAway(PneumoScreenError):
    """Say that Redis did not answer."""
