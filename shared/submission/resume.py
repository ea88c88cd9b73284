"""Which of a sender's files a job has received already, so that an upload that broke off goes on without them."""

import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.intake.accept import display_name
from shared.intake.pseudonyms import conceal
from shared.settings import Settings
from shared.tables import Image, Screening


@dataclass(frozen=True)
class LocalFile:
    """A file that a sender has: its name as it would be sent, and its bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class ReceivedFile:
    """What a job has of one of these files."""

    index: int
    """Its place among the files that were asked about."""
    sha256: str | None
    """Of what was received; None where it was refused, or was a ZIP, of which only the entries are kept."""


def find_received(
    session: Session, settings: Settings, job_id: uuid.UUID, files: Sequence[LocalFile]
) -> Iterator[ReceivedFile]:
    """Yield those of the files that a job has: a row has the same name and size, and stands for one file.

    Of a file that was refused only the name is known. A ZIP is there once one of its entries is, since all of them are
    kept in one transaction.
    """
    known, folders = _rows(session, job_id)
    for index, file in enumerate(files):
        name = _kept_name(file.name, settings)
        rows = known.get((name, file.size_bytes)) or known.get((name, None))
        if rows:
            yield ReceivedFile(index, rows.popleft())
        elif name in folders:
            yield ReceivedFile(index, None)


def _rows(session: Session, job_id: uuid.UUID) -> tuple[dict[tuple[str, int | None], deque[str | None]], set[str]]:
    """Return the sha256 of a job's rows by name and size, and every folder or ZIP that a name lies in."""
    known: dict[tuple[str, int | None], deque[str | None]] = defaultdict(deque)
    folders: set[str] = set()
    query = select(Screening.file_name, Image.size_bytes, Image.sha256).outerjoin(Image, Screening.image_id == Image.id)
    for name, size, sha256 in session.execute(query.where(Screening.job_id == job_id).order_by(Screening.position)):
        known[name, size].append(sha256)
        parts = name.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    return known, folders


def _kept_name(name: str, settings: Settings) -> str:
    """Return a name as its row has it: a multipart header writes a quotation mark as %22 (WHATWG HTML)."""
    return display_name(conceal(display_name(name.replace("%22", '"')), settings))
