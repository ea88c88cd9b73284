"""Find received files that a job already holds, so that files sent twice in one upload are added once."""

import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import in_parts
from shared.intake.accept import Received
from shared.refusals import Details
from shared.tables import Image, Screening


def leave_out_held(session: Session, job_id: UUID, received: Sequence[Received]) -> list[Received]:
    """Return the files for which a job has no row of the same name and content.

    The content of a refused file is not kept: name and refusal are compared. The caller locks the job's row.
    """
    images = _held_images(session, job_id, [item.image.sha256 for item in received if item.image])
    refusals = _held_refusals(session, job_id, [item.file_name for item in received if item.rejection])
    return [item for item in received if not _is_held(item, images, refusals)]


def _is_held(item: Received, images: set[tuple[str, str]], refusals: set[tuple[str, str, str]]) -> bool:
    if item.image is not None:
        return (item.file_name, item.image.sha256) in images
    reason = item.rejection
    return reason is not None and (item.file_name, reason.code.value, _in_text(reason.details)) in refusals


def _held_images(session: Session, job_id: UUID, hashes: Sequence[str]) -> set[tuple[str, str]]:
    query = select(Screening.file_name, Image.sha256).join(Image).where(Screening.job_id == job_id)
    parts = (session.execute(query.where(Image.sha256.in_(some))) for some in in_parts(hashes))
    return {(name, sha256) for rows in parts for name, sha256 in rows}


def _held_refusals(session: Session, job_id: UUID, names: Sequence[str]) -> set[tuple[str, str, str]]:
    query = select(Screening.file_name, Screening.error_code, Screening.error_details).where(
        Screening.job_id == job_id, Screening.image_id.is_(None)
    )
    parts = (session.execute(query.where(Screening.file_name.in_(some))) for some in in_parts(names))
    return {(name, code or "", _in_text(details or {})) for rows in parts for name, code, details in rows}


def _in_text(details: Details) -> str:
    """Write details as hashable text: thousands of refusals are compared while the job's row is locked."""
    return json.dumps(details, sort_keys=True)
