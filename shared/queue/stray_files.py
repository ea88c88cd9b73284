"""Remove the files of images that no row names: of those with a tombstone, and of uploads that broke off.

An image stored within UPLOADS_END_WITHIN is kept: an upload under way may have stored it too and will name it in a row.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from math import inf
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.batches import batched
from shared.db import Database, now
from shared.errors import StoreAway, StoreFull
from shared.queue.removed import Removed
from shared.store.incoming import IMAGES
from shared.store.store import DERIVED, Store, StoredImage
from shared.tables import Image, Tombstone

log = logging.getLogger(__name__)

PART: Final = 500
"""Images whose files are checked at once."""
UPLOADS_END_WITHIN: Final = timedelta(days=1)
"""The longest time from storing a request's first image until its rows are written."""
COLLECT_EVERY_SECONDS: Final = 24 * 3600.0
"""Checking a store of ten million files takes ten thousand requests to a bucket."""
AGAIN_AFTER_SECONDS: Final = 600.0
"""After an error the check starts over, and would otherwise fail at the same place with every sweep."""


def remove_tombstoned_files(database: Database, store: Store) -> int:
    """Remove the files of up to PART images whose tombstone is due; return how many tombstones were checked.

    Raises StoreAway where the store cannot be reached; the tombstones then stay as they are.
    """
    at = now()
    with database.read() as session:
        due = select(Tombstone.sha256).where(Tombstone.due_at <= at).order_by(Tombstone.due_at).limit(PART)
        keys = session.scalars(due).all()
        sent_again = _named(session, keys)
    if not keys:
        return 0
    settled = [key for key in keys if key in sent_again or _remove_files(store, key, at - UPLOADS_END_WITHIN)]
    with database.write() as session:
        session.execute(delete(Tombstone).where(Tombstone.sha256.in_(settled)))
        postponed = Tombstone.sha256.in_(set(keys) - set(settled))
        session.execute(update(Tombstone).where(postponed).values(due_at=at + UPLOADS_END_WITHIN))
    return len(keys)


def _remove_files(store: Store, key: str, before: datetime) -> bool:
    """Remove an image's files unless it was stored since `before`; also False where only these cannot be removed.

    They are tried again another day and delay no others. Raises StoreAway where the store is failing.
    """
    try:
        return store.remove(key, before)
    except StoreAway as error:
        with suppress(StoreFull):
            store.check()
        log.warning("The files of one image cannot be removed. %s", error)
        return False


class StrayCollection:
    """Garbage collection of what broken-off uploads left: files in the store that no row names.

    The sweep calls it repeatedly; each call checks a bounded number of files, so that nothing else has to wait.
    """

    def __init__(self, database: Database, store: Store) -> None:
        self._database, self._store = database, store
        self._parts: Iterator[Removed] | None = None
        self._rests_until = -inf

    def remove_some(self, at: float) -> Removed:
        """Check up to PART more files, at `at` seconds of a monotonic clock, and remove the strays among them.

        After all files it pauses for COLLECT_EVERY_SECONDS. Raises StoreAway where the store cannot be reached; it then
        starts over after AGAIN_AFTER_SECONDS.
        """
        if at < self._rests_until:
            return Removed()
        if self._parts is None:
            self._store.remove_unfinished(now() - UPLOADS_END_WITHIN)
            self._parts = remove_strays(self._database, self._store) if self._is_own_store() else iter(())
        try:
            removed = next(self._parts, None)
        except Exception:
            self._parts, self._rests_until = None, at + AGAIN_AFTER_SECONDS
            raise
        if removed is None:
            self._parts, self._rests_until = None, at + COLLECT_EVERY_SECONDS
        return removed or Removed()

    def _is_own_store(self) -> bool:
        """Tell whether rows and files can belong together: a new database with an old store would empty the store."""
        with self._database.read() as session:
            if session.scalar(select(Image.id).limit(1)) is not None:
                return True
        if len(list(islice(self._store.images(), PART + 1))) <= PART:
            return True
        log.warning(
            "The database names no image, and the image store holds many: nothing of it is removed. If database and "
            "store belong together, `pneumoscreen purge` removes them."
        )
        return False


def remove_strays(database: Database, store: Store) -> Iterator[Removed]:
    """Remove the files that no row names, and yield what each part removed."""
    for some in find_strays(database, store):
        gone = [image for image in some if _remove_files(store, image.key, now() - UPLOADS_END_WITHIN)]
        yield Removed(stray_files=len(gone), stray_bytes=sum(image.size for image in gone))


def find_strays(database: Database, store: Store) -> Iterator[list[StoredImage]]:
    """Check the files of the store by PART; yield those that no row names and no current upload has stored."""
    before = now() - UPLOADS_END_WITHIN
    for kind in (IMAGES, *DERIVED):
        for some in batched(store.images(kind), PART):
            old = [image for image in some if image.modified_at < before]
            known = _known(database, [image.key for image in old])
            strays = [image for image in old if image.key not in known]
            yield [image for image in strays if kind == IMAGES or not store.has(image.key, IMAGES)]


def _known(database: Database, keys: Sequence[str]) -> set[str]:
    """Return those keys that an image's row or a tombstone names."""
    with database.read() as session:
        tombstones = session.scalars(select(Tombstone.sha256).where(Tombstone.sha256.in_(keys)))
        return _named(session, keys) | set(tombstones)


def _named(session: Session, keys: Sequence[str]) -> set[str]:
    return set(session.scalars(select(Image.sha256).where(Image.sha256.in_(keys))))
