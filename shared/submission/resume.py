"""Find which of a sender's files a job has already received, so that an aborted upload resumes without them."""

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
    """A sender's file: its name as it would be sent, and its size in bytes."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class ReceivedFile:
    """One of these files that a job has."""

    index: int
    """Its index among the files asked about."""
    sha256: str | None
    """Of the received content; None where it was refused, or was a ZIP, of which only the entries are stored."""


def find_received(
    session: Session, settings: Settings, job_id: uuid.UUID, files: Sequence[LocalFile]
) -> Iterator[ReceivedFile]:
    """Yield the files that a job has: a row of the same name and size stands for one file.

    For a refused file only the name is known. A ZIP is there once one of its entries is, since all are written in one
    transaction.
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
    """Return the sha256 of a job's rows by name and size, and every folder or ZIP in their names."""
    known: dict[tuple[str, int | None], deque[str | None]] = defaultdict(deque)
    folders: set[str] = set()
    query = select(Screening.file_name, Image.size_bytes, Image.sha256).outerjoin(Image, Screening.image_id == Image.id)
    for name, size, sha256 in session.execute(query.where(Screening.job_id == job_id).order_by(Screening.position)):
        known[name, size].append(sha256)
        parts = name.split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    return known, folders


def _kept_name(name: str, settings: Settings) -> str:
    """Return a name as stored in its row: a multipart header encodes a quotation mark as %22 (WHATWG HTML)."""
    return display_name(conceal(display_name(name.replace("%22", '"')), settings))
