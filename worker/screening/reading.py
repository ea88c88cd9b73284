"""Read images from the store, and tell one unreadable file from an unavailable store."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from sqlalchemy import select

from shared.db import Database
from shared.errors import ImageRejected, PneumoScreenError, StoreAway, StoreFull
from shared.queue.leases import ClaimedScreening
from shared.refusals import Rejection
from shared.store.store import Store
from shared.tables import Image, Prediction

OTHERS: Final = 3
"""How many images last answered, and last received, are tried to see whether the store works."""
PROBE_SECONDS: Final = 10.0
"""A store that takes longer than this counts as unavailable."""


class FileUnreadable(PneumoScreenError):
    """Say that the file of one image cannot be read, although the store works."""


class ImageReader:
    """Read images from a store."""

    def __init__(self, store: Store, database: Database) -> None:
        self._store, self._database = store, database
        self._last_read: str | None = None

    def read(self, image: ClaimedScreening) -> bytes:
        """Return an image's bytes.

        Raises ImageRejected where its file is missing or damaged, FileUnreadable where it alone cannot be read, and
        StoreAway where the store is to blame.
        """
        try:
            data = self._store.get(image.sha256)
        except FileNotFoundError as error:
            if not self._reads_another(image.sha256):
                self._check()
            raise ImageRejected(Rejection.IMAGE_MISSING) from error
        except StoreAway as error:
            if not self._is_own_fault(image.sha256):
                raise
            raise FileUnreadable(f"{error} Other images can be read.") from error
        self._last_read = image.sha256
        return data

    def _is_own_fault(self, sha256: str) -> bool:
        """Tell whether only this file cannot be read; raise StoreAway where the store itself is unavailable."""
        began = time.monotonic()
        is_there = self._seems_there(sha256)
        if time.monotonic() - began > PROBE_SECONDS:
            return False
        if not is_there:
            self._check()  # a key may be missing
        if self._reads_another(sha256):
            return True
        if next(self._others(sha256), None) is not None or not is_there:
            return False
        self._check()  # no other image exists to try
        return True

    def _seems_there(self, sha256: str) -> bool:
        try:
            return self._store.has(sha256)
        except StoreAway:  # a folder without permission looks like this, too
            return True

    def _reads_another(self, sha256: str) -> bool:
        """Try other images until one can be read; False where none can, or there is none."""
        began = time.monotonic()
        for other in self._others(sha256):
            if time.monotonic() - began > PROBE_SECONDS:
                break
            if self._can_read(other):
                return True
        return False

    def _can_read(self, sha256: str) -> bool:
        try:
            self._store.get(sha256)
        except (StoreAway, FileNotFoundError):
            return False
        except ImageRejected:
            return True  # it could be read; its damage is reported when it is screened itself
        return True

    def _others(self, sha256: str) -> Iterator[str]:
        """Yield other images: the last one read here, then those last answered and last received."""
        if self._last_read not in {None, sha256}:
            yield str(self._last_read)
        answered = select(Image.sha256).join(Prediction).order_by(Prediction.id.desc())
        received = select(Image.sha256).order_by(Image.id.desc())
        for wanted in (answered, received):
            with self._database.read() as session:
                found = session.scalars(wanted.limit(OTHERS + 1)).all()
            yield from (other for other in found if other != sha256)

    def _check(self) -> None:
        """Raise StoreAway where the store does not work; a full one can still be read."""
        with suppress(StoreFull):
            self._store.check()
