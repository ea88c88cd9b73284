"""Claims: who has an image open. A note for others, not a lock; it expires unless the open page renews it."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from shared.db import insert_new, now
from shared.tables import ImageClaim, User

LASTS: Final = timedelta(minutes=2)
"""Since the page last renewed it, which it does every RENEWED_EVERY."""
RENEWED_EVERY: Final = timedelta(seconds=45)


def claim(session: Session, user: User, sha256: str) -> None:
    """Record or renew that an account has an image open; expired claims are deleted."""
    at = now()
    session.execute(delete(ImageClaim).where(ImageClaim.expires_at <= at))
    own = session.get(ImageClaim, (sha256, user.id))
    if own is not None:
        own.expires_at = at + LASTS
        return
    row = {"image_sha256": sha256, "user_id": user.id, "since": at, "expires_at": at + LASTS}
    insert_new(session, ImageClaim, [row])


def release(session: Session, user: User, sha256: str) -> None:
    """Record that an account has closed an image."""
    session.execute(delete(ImageClaim).where(ImageClaim.image_sha256 == sha256, ImageClaim.user_id == user.id))


def claims_of_others(session: Session, user: User, images: Collection[str]) -> Sequence[ImageClaim]:
    """Return the claims of others on any of these images, the oldest first."""
    query = (
        select(ImageClaim)
        .options(joinedload(ImageClaim.user))
        .where(ImageClaim.image_sha256.in_(images), ImageClaim.user_id != user.id, ImageClaim.expires_at > now())
        .order_by(ImageClaim.since)
    )
    return session.scalars(query).all()
