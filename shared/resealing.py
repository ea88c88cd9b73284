"""Sealing a store's files anew: those that came before it was encrypted, and those of an earlier key."""

from collections.abc import Iterator
from enum import StrEnum

from shared.errors import FilmRejected
from shared.files import Found
from shared.incoming import FILMS
from shared.storage import DERIVED, FilmStore


class Seal(StrEnum):
    """How one file stands after its turn."""

    CURRENT = "current"
    RENEWED = "renewed"
    DAMAGED = "damaged"
    """It cannot be read, and stays as it is."""
    FOREIGN = "foreign"
    """None of the keys made its name."""


def seal_anew(store: FilmStore) -> Iterator[Seal]:
    """Seal every film and picture with the first key, one at a time, while the store is in use.

    A break at any point loses nothing, and what is done already is passed over the next time. Once all is done, only
    the first key is needed any more. Raises ValueError where the store has no key.
    """
    if store.keyring is None:
        raise ValueError("A store without a key cannot be sealed.")
    store.key_record.settle()
    all_done = True
    for kind in (FILMS, *DERIVED):
        for found in store.files.list(kind):
            seal = _renew(store, kind, found)
            all_done = all_done and seal in {Seal.CURRENT, Seal.RENEWED}
            yield seal
    if all_done:
        store.key_record.keep_first()


def _renew(store: FilmStore, kind: str, found: Found) -> Seal:
    key = store.key_of(found.path)
    if key is None:
        return Seal.FOREIGN
    target = store.place_of(kind, key)
    if found.path == target:
        return Seal.CURRENT
    try:
        data = store.unseal(found.path, store.files.read(found.path), kind, key)
    except FilmRejected:
        return Seal.DAMAGED
    except FileNotFoundError:
        return Seal.CURRENT  # it was removed since it was listed
    with store.files.receive() as file:
        file.write(store.seal(data, kind, key))
        store.files.keep(file, target, [found.path])
    store.files.force([target])
    store.files.remove(found.path)
    return Seal.RENEWED
