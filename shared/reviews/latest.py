"""The latest screening of an image by its model: a flag, updated as rows are added, finished, retried and deleted.

It is the newest with an outcome, DONE or REJECTED: a waiting one replaces it only once it has its own. Without any
outcome it is the newest that waits, and where none waits, as all were cancelled or failed, the newest of all.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, case, func, or_, select, union, update
from sqlalchemy.orm import Session, aliased

from shared.db import in_parts
from shared.reviews.standing import state_of
from shared.states import State
from shared.tables import Image, Job, Review, ReviewState, Screening

_RANK: Final = case(
    (or_(Screening.state == State.DONE, Screening.state == State.REJECTED), 2),
    (or_(Screening.state == State.QUEUED, Screening.state == State.RUNNING), 1),
    else_=0,
)


def hold_images(session: Session, keys: Collection[str]) -> dict[str, uuid.UUID]:
    """Lock images and return their ids by sha256; until the transaction ends nobody removes, reviews or resends them.

    Nor does anyone else answer, cancel, fail or retry any of their screenings.
    """
    # In one order, so that two transactions with the same images do not deadlock.
    held = select(Image.sha256, Image.id).where(Image.sha256.in_(keys)).order_by(Image.sha256)
    return {row.sha256: row.id for row in session.execute(held.with_for_update(key_share=True))}


def hold_images_of(session: Session, *which: ColumnElement[bool], only_flagged: bool) -> list[uuid.UUID]:
    """Lock the images of screenings, as `hold_images` does, before these change; return those for `choose` afterwards.

    Those are the images with several screenings, since most jobs' images came once. Where the screenings only lose
    rank, as they are cancelled or fail, only the images of flagged ones need be returned: `only_flagged`.
    """
    asked = select(Screening.image_id).where(*which)
    session.execute(select(Image.id).where(Image.id.in_(asked)).order_by(Image.sha256).with_for_update(key_share=True))
    other = aliased(Screening)
    has_others = select(other.id).where(other.image_id == Screening.image_id, other.id != Screening.id).exists()
    return list(session.scalars(asked.where(has_others, *([Screening.is_latest] if only_flagged else [])).distinct()))


def choose(
    session: Session, images: Collection[uuid.UUID], risen: Mapping[uuid.UUID, Sequence[uuid.UUID]] | None = None
) -> None:
    """Flag the latest screening of images by each model after some of theirs have changed, and clear the others' flags.

    The caller has locked the images by `hold_images`. `risen` gives, by image, the screenings that were added or got an
    outcome, where no other has changed: only these are compared with the flagged ones, however often an image came.
    """
    for some in in_parts(images):
        compared = Screening.image_id.in_(some)
        if risen is not None:
            flagged = select(Screening.id).where(compared, Screening.is_latest)
            others = select(Screening.id).where(Screening.id.in_([key for image in some for key in risen[image]]))
            compared = Screening.id.in_(union(flagged, others))
        order = (_RANK.desc(), Screening.id.desc())
        place = func.row_number().over(partition_by=(Screening.image_id, Job.model_name), order_by=order)
        ranked = select(Screening.id, Screening.is_latest, place.label("place")).join(Job).where(compared).subquery()
        is_wrong = or_(and_(ranked.c.is_latest, ranked.c.place > 1), and_(~ranked.c.is_latest, ranked.c.place == 1))
        session.execute(
            update(Screening)
            .where(Screening.id.in_(select(ranked.c.id).where(is_wrong)))
            .values(is_latest=~Screening.is_latest)
            .execution_options(synchronize_session=False)
        )


def review_states(session: Session, images: Sequence[uuid.UUID]) -> dict[uuid.UUID, ReviewState]:
    """Return the state of reviews of each image; one without a review is left out."""
    query = select(Image.id, Review).join(Review, Review.image_sha256 == Image.sha256)
    reviews: defaultdict[uuid.UUID, list[Review]] = defaultdict(list)
    for some in in_parts(images):
        for image_id, review in session.execute(query.where(Image.id.in_(some))):
            reviews[image_id].append(review)
    return {image_id: state_of(some) for image_id, some in reviews.items()}
