"""Copy images from one store to another, comparing each with its sha256."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from cli.errors import CommandFailed
from shared.db import Database
from shared.errors import ImageRejected
from shared.store.store import THUMBNAIL, ImageStore, is_key
from shared.tables import Image

_ROWS: Final = 500


@dataclass
class ImageCopy:
    """The results for the images that a database names."""

    images: int = 0
    image_bytes: int = 0
    new: int = 0
    missing: list[str] = field(default_factory=list)
    """Missing or damaged at the source."""


def named_images(database: Database) -> Iterator[dict[str, int]]:
    """Yield the images that a database names in batches: sha256 and bytes."""
    last = uuid.UUID(int=0)
    while True:
        with database.read() as session:
            page = (
                select(Image.id, Image.sha256, Image.size_bytes).where(Image.id > last).order_by(Image.id).limit(_ROWS)
            )
            rows = session.execute(page).all()
        if not rows:
            return
        unfit = next((row.sha256 for row in rows if not (isinstance(row.sha256, str) and is_key(row.sha256))), None)
        if unfit is not None:
            raise CommandFailed(
                f"The database is damaged: it names an image by what is no sha256 ({ascii(unfit)[:80]})."
            )
        yield {row.sha256: row.size_bytes for row in rows}
        last = rows[-1].id


def still_named(database: Database, keys: Sequence[str]) -> list[str]:
    """Return those of these images that a database names."""
    pages = (keys[start : start + _ROWS] for start in range(0, len(keys), _ROWS))
    return [key for some in pages for key in named(database, some)]


def named(database: Database, keys: Iterable[str]) -> set[str]:
    """Return those of some images that a database names."""
    with database.read() as session:
        return set(session.scalars(select(Image.sha256).where(Image.sha256.in_(list(keys)))))


def copy_images(names: Database, source: ImageStore, target: ImageStore, *, trust_target: bool) -> ImageCopy:
    """Copy every image that a database names, with its thumbnail, unless the target has it.

    Without `trust_target` an image that it has is read and compared. The other pictures are redrawn on demand.
    """
    copied = ImageCopy()
    for some in named_images(names):
        fresh = []
        for key, size in some.items():
            copied.images += 1
            copied.image_bytes += size
            is_there = target.has(key) and (trust_target or _is_whole(target, key))
            if not is_there and _copy_image(key, source, target, copied):
                fresh.append(key)
            _copy_thumbnail(key, source, target, trust_target=trust_target)
        target.force(fresh)
        copied.new += len(fresh)
    return copied


def _copy_image(key: str, source: ImageStore, target: ImageStore, copied: ImageCopy) -> bool:
    data = _read(source, key)
    if data is None:
        copied.missing.append(key)
        return False
    with target.receive() as incoming:
        incoming.write(data)
        incoming.force()  # the next run trusts a name that it finds
        target.keep(incoming)
    return True


def _copy_thumbnail(key: str, source: ImageStore, target: ImageStore, *, trust_target: bool) -> None:
    """Copy a thumbnail where there is one; any other is drawn on demand."""
    if target.has(key, THUMBNAIL) and (trust_target or _thumbnail(target, key) is not None):
        return
    thumbnail = _thumbnail(source, key)
    if thumbnail is not None:
        target.put_derived(key, THUMBNAIL, thumbnail)


def _thumbnail(store: ImageStore, key: str) -> bytes | None:
    try:
        return store.get_derived(key, THUMBNAIL)
    except FileNotFoundError:
        return None


def _is_whole(store: ImageStore, key: str) -> bool:
    return _read(store, key) is not None


def _read(store: ImageStore, key: str) -> bytes | None:
    """Return an image's bytes; None where it is missing or does not match its sha256."""
    try:
        return store.get(key)
    except (FileNotFoundError, ImageRejected):
        return None
