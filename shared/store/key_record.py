"""The record of an image store: it marks a place as the store, and lists the keys that files are sealed with.

It is written when the store is created and never by a mere start, so that an unmounted share's empty folder is not
mistaken for the store, and a process that lacks a key does not consider images missing.
"""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import StoreAway
from shared.settings import PREFIX
from shared.store.folder import Files, Unusable

if TYPE_CHECKING:
    from shared.store.encryption import Keyring

KEYS_FILE: Final = "keys.json"
_SETTING: Final = f"{PREFIX}STORE_KEY"
RECORD_SECONDS: Final = 2.0
"""How long a bucket's record is cached; in a folder a change is noticed at once."""
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Record:
    """The content of the record."""

    keys: tuple[str, ...]
    """Ids of the keys that files are sealed with; empty where the store is not encrypted."""
    takes_unsealed: bool
    """True while an existing store is being encrypted: files not yet sealed are read, too."""


@dataclass(frozen=True)
class _Seen:
    """What was last read, and how long it is valid."""

    record: Record
    version: object
    until: float

    def holds(self, version: object) -> bool:
        return version == self.version and (version is not None or time.monotonic() < self.until)


class KeyRecord:
    """This process's cached record of one store, shared by uploads and health checks."""

    def __init__(self, files: Files, keyring: "Keyring | None") -> None:
        self._files = files
        self._held = tuple(keyring.ids) if keyring else ()
        self._seen: _Seen | None = None  # replaced atomically: many threads read it

    @property
    def is_new(self) -> bool:
        """Tell whether the store has yet to be created with the given keys; raise StoreAway where it is unavailable."""
        record = self._look()
        return record is None or (bool(self._held) and not record.keys)

    @property
    def is_encrypted(self) -> bool:
        """Tell whether the store's files are sealed; raise StoreAway where that is unknown."""
        record = self._look()
        if record is None:
            raise StoreAway(
                "%(store)s is damaged: %(file)s, which marks it, is missing.", store=self._files.place, file=KEYS_FILE
            )
        return bool(record.keys)

    def create(self, *, has_plain: bool, has_sealed: bool) -> None:
        """Mark the place as an image store: encrypted where there is a key, unless it holds only unencrypted files.

        Raises StoreAway where it holds sealed files and no key is given.
        """
        if has_sealed and not self._held:
            raise StoreAway(
                "%(store)s holds encrypted files. Set %(setting)s to the key that they need.",
                store=self._files.place,
                setting=_SETTING,
            )
        keys = () if has_plain and not has_sealed else self._held
        self._write(Record(keys, takes_unsealed=has_plain and has_sealed))

    def check(self, *, anew: bool = False) -> Record:
        """Return the record; raise StoreAway where there is no store, or the given keys cannot open it.

        `anew` reads it even if it seems unchanged.
        """
        record = self._look(anew=anew)
        if record is None:
            raise StoreAway(
                "%(store)s is not there: %(file)s, which marks it, is missing. Mount it, or correct the setting. If it "
                "lost that file, run 'pneumoscreen store create'.",
                store=self._files.place,
                file=KEYS_FILE,
            )
        lacking = next((key_id for key_id in record.keys if key_id not in self._held), None)
        if lacking is not None:
            raise StoreAway(
                "%(store)s is encrypted with the key %(key)s, which %(setting)s does not hold. Add that key and start "
                "again.",
                store=self._files.place,
                key=lacking,
                setting=_SETTING,
            )
        if self._held and not record.keys:
            raise StoreAway(
                "%(store)s is not encrypted, but %(setting)s is set. Encrypt it with 'pneumoscreen store encrypt', "
                "which may run while PneumoScreen does.",
                store=self._files.place,
                setting=_SETTING,
            )
        return record

    def settle(self) -> None:
        """Check the record before a file is written, and add the sealing key."""
        record = self.check()
        if self._held and self._held[0] not in record.keys:
            self._write(Record((*record.keys, self._held[0]), record.takes_unsealed))

    def begin_sealing(self) -> None:
        """Record that an unencrypted store is being encrypted, or add the new sealing key."""
        record = self._look()
        if record is not None and not record.keys:
            self._write(Record(self._held[:1], takes_unsealed=True))
        self.settle()

    def keep_first(self) -> None:
        """Record that all files are sealed with the first key: other keys are dropped, and nothing else is read."""
        self.check(anew=True)
        self._write(Record(self._held[:1], takes_unsealed=False))

    def _look(self, *, anew: bool = False) -> Record | None:
        """Return the record, from the cache while that is valid; None where there is none."""
        try:
            version, seen = self._files.version(KEYS_FILE), self._seen
            if anew or seen is None or not seen.holds(version):
                record = _parse(self._files.read(KEYS_FILE, _MOST_BYTES))
                self._seen = seen = _Seen(record, version, time.monotonic() + RECORD_SECONDS)
        except FileNotFoundError:
            self._seen = None
            return None
        except (ValueError, KeyError, TypeError, RecursionError, Unusable) as error:
            self._seen = None
            raise StoreAway(
                "%(file)s in the image store is damaged. Restore it from a backup.", file=KEYS_FILE
            ) from error
        return seen.record

    def _write(self, record: Record) -> None:
        told = {"keys": list(record.keys), **({"takes_unsealed": True} if record.takes_unsealed else {})}
        self._files.write(KEYS_FILE, json.dumps(told).encode())
        self._files.force([KEYS_FILE])
        self._seen = None


def _parse(data: bytes) -> Record:
    told = json.loads(data)
    keys, takes_unsealed = told["keys"], told.get("takes_unsealed", False)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TypeError("The keys are a list of ids.")
    if not isinstance(takes_unsealed, bool):
        raise TypeError("takes_unsealed is true or false.")
    return Record(tuple(keys), takes_unsealed)
