"""The errors that PneumoScreen raises on purpose.

PneumoScreenError
|-- TranslatableError   what pages say in the language of the reader
|   |-- ActivationRefused  what is to be put in force is so already, or cannot be
|   |-- DatabaseBusy       transactions went on colliding with others; nothing was written
|   |-- DecoderAway        the process that decodes compressed images cannot be used; no image is to blame
|   |-- JobClosed          images were sent to a job whose upload has ended
|   |-- JobUnfinished      a job that still goes on cannot be deleted
|   |-- KeyReused          an idempotency key came again with another request
|   |-- ModelUnavailable   a model folder is missing, damaged or not what its spec says
|   |-- NothingToWithdraw  a reader has no review that could be undone
|   |-- NotReviewable      there is no image, or no prediction, that could be reviewed so
|   |-- ReviewOutdated     another reader's review came in before this one, unseen
|   |-- StoreAway          the image store cannot be reached; no image is to blame
|   |-- StoreFull          the image store has no room left
|   `-- TryLater           no image is taken for a while; says when to come back
|       |-- QueueFull      the queue is at its limit
|       `-- DiskLow        the disk has too little room left
|-- ImageRejected        this one file cannot be screened; the rest of its job goes on
|-- UploadRefused       the whole request is over a limit
|-- StoreMisconfigured  a setting of the image store cannot be used
`-- BrokerAway          Redis did not answer; the sweep sends tickets later
"""

from typing import Self

from shared.refusals import Details, Rejection, Scalar


class PneumoScreenError(Exception):
    """Stand at the root of every error raised on purpose."""


class TranslatableError(PneumoScreenError):
    """Say in English what pages say in the language of the reader (`web.languages.text.say`).

    `values` fill the text in; one may be such an error itself. Whole numbers get separators, others one decimal.
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
    """Say that one file cannot be screened: a code and its parameters; `shared.refusals.explain` makes the words.

    As text it is the code and the parameters, for logs.
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
    """Refuse images for a while, and say in how many seconds they are worth sending again."""

    def __init__(self, text: str, retry_after: int, **values: object) -> None:
        super().__init__(text, **values)
        self.retry_after = retry_after


class QueueFull(TryLater):
    """Say that the queue is at its limit."""


class DiskLow(TryLater):
    """Say that a disk has less room left than is kept for what was accepted."""


class DatabaseBusy(TranslatableError):
    """Say that a transaction lost against others again and again."""


class StoreMisconfigured(PneumoScreenError):
    """Say which setting of the image store cannot be used."""


class KeyReused(TranslatableError):
    """Say that an idempotency key was used for another request before."""


class ReviewOutdated(TranslatableError):
    """Say that another reader's review came in that this one's reader had not seen."""


class NotReviewable(TranslatableError):
    """Say why an image cannot be reviewed, or not so."""


class NothingToWithdraw(TranslatableError):
    """Say that a reader has no review that could be undone."""


class ActivationRefused(TranslatableError):
    """Say why something cannot be put in force."""


class JobClosed(TranslatableError):
    """Say that a job takes no more images."""


class JobUnfinished(TranslatableError):
    """Say that a job cannot be deleted before it has finished."""


class DecoderAway(TranslatableError):
    """Say that the process that decodes compressed images cannot be used."""


class ModelUnavailable(TranslatableError):
    """Say which model cannot be served and why."""


class BrokerAway(PneumoScreenError):
    """Say that Redis did not answer."""
