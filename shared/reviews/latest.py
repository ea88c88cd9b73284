"""Which screening of an image is the latest by its model: kept as rows are written and removed."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session, aliased

from shared.reviews.standing import state_of
from shared.tables import Image, Job, Review, ReviewState, Screening

_PART: Final = 1000
"""SQLite takes 32,766 bound values a statement."""


def hold_images(session: Session, keys: Collection[str]) -> dict[str, uuid.UUID]:
    """Return the ids of images by sha256; until the transaction ends nobody removes, reviews or sends them anew."""
    # In one order, so that two transactions with the same images do not wait for each other. Workers, who only refer to
    # an image, are not kept waiting.
    held = select(Image.sha256, Image.id).where(Image.sha256.in_(keys)).order_by(Image.sha256)
    return {row.sha256: row.id for row in session.execute(held.with_for_update(key_share=True))}


def supersede(session: Session, images: Sequence[uuid.UUID], model_name: str) -> dict[uuid.UUID, ReviewState]:
    """Clear the flag of earlier screenings of images that are screened anew; return the review states of the images.

    The images are held by `hold_images`. One without a review is left out.
    """
    states: dict[uuid.UUID, ReviewState] = {}
    for some in _parts(images):
        states |= review_states(session, some)
        of_model = select(Job.id).where(Job.id == Screening.job_id, Job.model_name == model_name).exists()
        session.execute(
            update(Screening)
            .where(Screening.image_id.in_(some), Screening.is_latest, of_model)
            .values(is_latest=False)
            .execution_options(synchronize_session=False)
        )
    return states


def promote(session: Session, images: Sequence[uuid.UUID]) -> None:
    """Flag the last screening by each model of images whose latest one may have been removed.

    The images are held by `hold_images`.
    """
    other, its_job, job = aliased(Screening), aliased(Job), aliased(Job)
    has_better = (
        select(other.id)
        .join(its_job, its_job.id == other.job_id)
        .join(job, and_(job.id == Screening.job_id, job.model_name == its_job.model_name))
        .where(other.image_id == Screening.image_id, or_(other.is_latest, other.id > Screening.id))
        .correlate(Screening)
        .exists()
    )
    for some in _parts(images):
        session.execute(
            update(Screening)
            .where(Screening.image_id.in_(some), ~Screening.is_latest, ~has_better)
            .values(is_latest=True)
            .execution_options(synchronize_session=False)
        )


def review_states(session: Session, images: Sequence[uuid.UUID]) -> dict[uuid.UUID, ReviewState]:
    """Say what the reviews of each image amount to; one without a review is left out."""
    query = select(Image.id, Review).join(Review, Review.image_sha256 == Image.sha256).where(Image.id.in_(images))
    reviews: defaultdict[uuid.UUID, list[Review]] = defaultdict(list)
    for image_id, review in session.execute(query):
        reviews[image_id].append(review)
    return {image_id: state_of(some) for image_id, some in reviews.items()}


def _parts(images: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for start in range(0, len(images), _PART):
        yield images[start : start + _PART]
