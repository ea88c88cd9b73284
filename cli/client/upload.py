"""Send images into a job, and track which rows of the job belong to which file."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from cli.client.answers import Row, ServerError
from cli.client.client import Api
from cli.client.images import LocalFile, Unreadable, pack
from cli.client.reading import FileReadError


@dataclass(frozen=True)
class Span:
    """The rows of one file in a job: one, or for a ZIP one for each image inside it."""

    file: LocalFile
    start: int
    """The first row's position."""
    count: int


@dataclass
class Sent:
    """Progress of an upload."""

    files: int = 0
    bytes: int = 0
    """Of files that are complete, and of the current request."""


class Upload:
    """One run's upload into one job.

    Requests are sent one after the other, so the rows of each follow those of the one before.
    """

    def __init__(self, api: Api, job_id: str, known: Sequence[Row] | None, report: Callable[[Sent], None]) -> None:
        self._api, self._job_id, self._report = api, job_id, report
        self._known = known or []
        """Rows that the job had before, by position, where a broken upload is resumed."""
        self._goes_on = known is not None
        """Someone else, such as the page that began it, may be resuming the same upload now."""
        self._position = 0
        self._sent = Sent()
        self.spans: dict[str, Span] = {}
        self.lost: dict[str, Unreadable] = {}
        self.left_out: Counter[str] = Counter()
        """From ZIPs, by reason."""

    def send(self, files: Sequence[LocalFile]) -> None:
        """Send every file once; what cannot be read or exceeds the server's limit is recorded in `lost`."""
        for batch in pack(files):
            self._send(batch)

    def _send(self, batch: Sequence[LocalFile]) -> None:
        if self._is_there(batch):
            self._note(batch, len(batch))
            return
        try:
            accepted = self._api.send(self._job_id, batch, self._count, skip_received=self._goes_on)
        except FileReadError as error:
            self._lose(error.file, error.reason)
            self._send_again([file for file in batch if file is not error.file])
        except ServerError as error:
            if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            self._divide(batch, error.message)
        else:
            self.left_out.update({item.reason: item.files for item in accepted.left_out})
            self._note(batch, accepted.received)

    def _send_again(self, rest: Sequence[LocalFile]) -> None:
        if rest:
            self._send(rest)

    def _divide(self, batch: Sequence[LocalFile], refusal: str) -> None:
        """Send the halves of a request that was too large; a file that is too large alone is recorded in `lost`."""
        if len(batch) == 1:
            self._lose(batch[0], refusal)
            return
        middle = len(batch) // 2
        self._send(batch[:middle])
        self._send(batch[middle:])

    def _is_there(self, batch: Sequence[LocalFile]) -> bool:
        rows = self._known[self._position : self._position + len(batch)]
        plain = not any(file.is_zip for file in batch)
        return (
            plain
            and len(rows) == len(batch)
            and all(f.is_shown_as(r.file_name) for f, r in zip(batch, rows, strict=True))
        )

    def _note(self, batch: Sequence[LocalFile], rows: int) -> None:
        each = [rows] if len(batch) == 1 else [1] * len(batch)
        for file, count in zip(batch, each, strict=True):
            self.spans[file.name] = Span(file, self._position, count)
            self._position += count
            self._through(file)

    def _lose(self, file: LocalFile, reason: str) -> None:
        self.lost[file.name] = Unreadable(file.name, reason)
        self._through(file)

    def _through(self, file: LocalFile) -> None:
        self._sent = Sent(self._sent.files + 1, self._sent.bytes + file.size)
        self._report(self._sent)

    def _count(self, read: int) -> None:
        self._report(Sent(self._sent.files, self._sent.bytes + read))
