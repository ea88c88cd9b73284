"""Re-encrypt a store's files: those from before it was encrypted, and those sealed with an earlier key."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import numpy as np

from shared.errors import ImageRejected
from shared.store.folder import Found
from shared.store.incoming import IMAGES
from shared.store.store import DERIVED, ImageStore


class Seal(StrEnum):
    """The result of sealing one file again."""

    CURRENT = "current"
    RENEWED = "renewed"
    DAMAGED = "damaged"
    """It cannot be read, and is left unchanged."""
    FOREIGN = "foreign"
    """None of the keys made its name."""


def seal_anew(store: ImageStore) -> Iterator[Seal]:
    """Seal every image and picture with the first key, one at a time, while the store is in use.

    It may be interrupted at any point without loss, and the next run skips what is done. The earlier keys stay on
    record, and unencrypted files remain readable, until `keep_first_key`. Raises ValueError where the store has no key,
    StoreAway where any part of it cannot be inspected.
    """
    if store.keyring is None:
        raise ValueError("A store without a key cannot be sealed.")
    store.key_record.begin_sealing()
    for kind in (IMAGES, *DERIVED):
        for found in store.files.list(kind):
            yield _renew(store, kind, found)


def find_unsealed(store: ImageStore, named: Iterable[Sequence[str]]) -> list[str]:
    """Return which of these images, given in batches, are not in the store under its first key."""
    # 64 bits of each: 80 MB for ten million images; the chance to overlook a missing one by collision is 1 in 10^12.
    kept = np.sort(np.fromiter((_prefix(key) for key in _current(store)), np.uint64))
    return [key for some in named for key in _absent(some, kept) if not _is_current(store, key)]


def keep_first_key(store: ImageStore) -> None:
    """Drop the earlier keys and accept nothing unsealed, once `seal_anew` has processed every file."""
    store.key_record.keep_first()


def _renew(store: ImageStore, kind: str, found: Found) -> Seal:
    key = store.key_of(found.path)
    if key is None:
        return Seal.FOREIGN
    target = store.place_of(kind, key)
    if found.path == target:
        return Seal.CURRENT
    try:
        data = store.read(found.path, kind, key)
    except ImageRejected:
        if kind == IMAGES:
            return Seal.DAMAGED
        store.files.remove(found.path)  # it is regenerated on demand
        return Seal.RENEWED
    except FileNotFoundError:
        return Seal.CURRENT  # it was removed after it was listed
    with store.files.receive() as file:
        file.write(store.seal(data, kind, key))
        store.files.keep(file, target, [found.path])
    store.files.force([target])
    store.files.remove(found.path)
    return Seal.RENEWED


def _current(store: ImageStore) -> Iterator[str]:
    for found in store.files.list(IMAGES):
        key = store.key_of(found.path)
        if key is not None and found.path == store.place_of(IMAGES, key):
            yield key


def _is_current(store: ImageStore, key: str) -> bool:
    """Check for an image that may have been stored after the listing."""
    return store.files.holds(store.place_of(IMAGES, key))


def _absent(keys: Sequence[str], kept: np.ndarray) -> list[str]:
    wanted = np.array([_prefix(key) for key in keys], np.uint64)
    places = np.searchsorted(kept, wanted)
    is_there = [place < len(kept) and kept[place] == one for place, one in zip(places, wanted, strict=True)]
    return [key for key, there in zip(keys, is_there, strict=True) if not there]


def _prefix(key: str) -> int:
    return int(key[:16], 16)
