"""The image store: images addressed by content. User-chosen names are displayed, never used as paths.

Everything read is verified: an image by the sha256 that names it, a picture by the digest that it begins with. A
mismatch means damage, and is never shown or screened.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from shared.errors import ImageRejected, StoreAway
from shared.refusals import Rejection
from shared.settings import MIB, Settings
from shared.store.folder import Files, FolderFiles, Unusable
from shared.store.incoming import IMAGES, Incoming
from shared.store.key_record import KeyRecord

if TYPE_CHECKING:
    from shared.store.encryption import Keyring, Sealer

log = logging.getLogger(__name__)

THUMBNAIL: Final = "thumbnail"
PREVIEW: Final = "preview"
DERIVED: Final = (THUMBNAIL, PREVIEW)

LARGEST: Final = 1024 * MIB
"""The most bytes read of one file, more only where the settings allow larger images."""

_SHA256_DIGITS: Final = 64
_DIGEST_BYTES: Final = 32
_DIGITS: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class StoredImage:
    """One image of a listing."""

    key: str
    size: int
    """Stored size in bytes."""
    modified_at: datetime
    """When it was last received: an image received again replaces its file."""


class Store(Protocol):
    """Keep images by the sha256 of their bytes, and small pictures derived from them.

    Every method raises StoreAway where the store is unavailable or a key is missing, StoreFull where it has no room.
    """

    def is_new(self) -> bool:
        """Tell whether the store has yet to be created."""

    def create(self) -> None:
        """Create the store, on a first start: nothing else creates one."""

    def receive(self) -> AbstractContextManager[Incoming]:
        """Open a place to write one image to; it is deleted when the context ends unless stored by `keep`."""

    def keep(self, incoming: Incoming) -> str:
        """Store a received image and return its key; an existing one is replaced. `force` makes it durable."""

    def force(self, keys: Sequence[str]) -> None:
        """Return once stored images are durable."""

    def get(self, key: str) -> bytes:
        """Return an image's bytes; raise FileNotFoundError where there is none, ImageRejected where it is damaged."""

    def put_derived(self, key: str, kind: str, data: bytes) -> None:
        """Store a small picture made from an image."""

    def get_derived(self, key: str, kind: str) -> bytes:
        """Return a small picture; raise FileNotFoundError where there is none."""

    def has(self, key: str, kind: str = IMAGES) -> bool:
        """Tell whether an image, or a picture derived from it, exists."""

    def images(self, kind: str = IMAGES) -> Iterator[StoredImage]:
        """Yield every image, or its derived pictures, in any order; one being sealed again may appear twice."""

    def remove(self, key: str, before: datetime) -> bool:
        """Remove an image and all derived from it unless it was stored since `before`; tell whether it is gone."""

    def check(self) -> None:
        """Raise StoreAway or StoreFull where no image could be stored now."""

    def remove_unfinished(self, before: datetime) -> int:
        """Remove partly received files left by killed processes, and return how many."""


class ImageStore:
    """A store on any kind of file storage: `images/ab/<name>`, each complete or absent.

    The name is the image's sha256, encrypted in an encrypted store. An encrypted store accepts only sealed files,
    except while its older files are being encrypted (`shared.store.reseal`).
    """

    def __init__(self, files: Files, keyring: "Keyring | None" = None, largest: int = LARGEST) -> None:
        self.files = files
        self.keyring = keyring
        self.key_record = KeyRecord(files, keyring)
        self._most = largest + largest // 1024 + 1024  # tags and header of a sealed file

    def is_new(self) -> bool:
        """Check for the record that marks a store."""
        return self.key_record.is_new

    def create(self) -> None:
        """Create the place and mark it, as encrypted or not depending on its present files."""
        self.files.create(IMAGES)
        kinds = {is_key(found.path.rsplit("/", 1)[-1]) for found in self.files.list(IMAGES)}
        self.key_record.create(has_plain=True in kinds, has_sealed=False in kinds)

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Open a temporary file on this machine."""
        self.key_record.settle()
        with self.files.receive() as file:
            yield Incoming(file, self._make_sealer())

    def keep(self, incoming: Incoming) -> str:
        """Move a received image into place, also over itself: that repairs a damaged file and renews its time."""
        key = incoming.sha256
        incoming.finish()
        self.key_record.check()  # keys may have changed while it was received
        place, *others = self.places_of(IMAGES, key)
        self.files.keep(incoming.file, place, others)
        return key

    def force(self, keys: Sequence[str]) -> None:
        """Force images to disk."""
        self.files.force([self.place_of(IMAGES, key) for key in keys])
        if keys:
            self.key_record.check()  # the store is still the one they are in

    def get(self, key: str) -> bytes:
        """Read an image, and verify its sha256."""
        found = self._find(IMAGES, key)
        if found is not None:
            return found
        self.refuse_absent()
        raise FileNotFoundError(f"There is no image {key} in the image store.")

    def put_derived(self, key: str, kind: str, data: bytes) -> None:
        """Write a derived picture after its digest; it can be regenerated, so it is not forced to disk."""
        self.key_record.settle()
        self.files.write(self.place_of(kind, key), self.seal(_digest(kind, key, data) + data, kind, key))

    def get_derived(self, key: str, kind: str) -> bytes:
        """Read a derived picture; a damaged one counts as missing."""
        try:
            data = self._find(kind, key)
        except ImageRejected as error:
            log.warning("A %s is damaged and left out.", kind)
            raise FileNotFoundError(f"The {kind} of {key} is damaged.") from error
        if data is None:
            raise FileNotFoundError(f"There is no {kind} of {key}.")
        return data[_DIGEST_BYTES:]

    def has(self, key: str, kind: str = IMAGES) -> bool:
        """Check for each of an image's names."""
        return any(self.files.holds(place) for place in self._places_to_read(kind, key))

    def images(self, kind: str = IMAGES) -> Iterator[StoredImage]:
        """List the images; names that none of the keys made are skipped and counted in the log."""
        self.refuse_absent()
        unknown = 0
        for found in self.files.list(kind):
            key = self.key_of(found.path)
            if key is None:
                unknown += 1
            else:
                yield StoredImage(key, found.size, found.modified_at)
        if unknown:
            log.warning("%d files of the image store have names that none of its keys made.", unknown)

    def remove(self, key: str, before: datetime) -> bool:
        """Remove an image, then its pictures; `images` lists pictures left by an interruption."""
        if not all(self.files.remove_older(place, before) for place in self.places_of(IMAGES, key)):
            return False
        for kind in DERIVED:
            for place in self.places_of(kind, key):
                self.files.remove(place)
        # Where the store is unavailable, or a key is missing, nothing was found and nothing removed.
        self.refuse_absent(anew=False)
        return True

    def check(self) -> None:
        """Check that the store is available with all keys, and try to write."""
        self.refuse_absent()
        self.files.check()

    def refuse_absent(self, *, anew: bool = True) -> None:
        """Raise StoreAway where the store or a key is missing: then no image is known to be absent."""
        self.key_record.check(anew=anew)
        if not self.files.has(IMAGES):
            raise StoreAway(
                "%(store)s has lost its folder '%(folder)s'. Mount it or bring it back.",
                store=self.files.place,
                folder=IMAGES,
            )

    def remove_unfinished(self, before: datetime) -> int:
        """Remove old temporary files."""
        return self.files.remove_unfinished(before)

    def key_of(self, path: str) -> str | None:
        """Return the key of the image that a file belongs to; None where that is unknown."""
        name = path.rsplit("/", 1)[-1]
        if is_key(name):
            return name
        return self.keyring.sha256_of(name) if self.keyring else None

    def seal(self, data: bytes, kind: str, key: str) -> bytes:
        """Return a file's bytes as stored: sealed where the store is encrypted."""
        if self.keyring is None:
            return data
        from shared.store.encryption import seal  # noqa: PLC0415  # only an encrypted store loads it

        return seal(self.keyring.first, data, f"{kind}/{key}")

    def read(self, path: str, kind: str, key: str) -> bytes:
        """Return a file's original bytes, a picture's after its digest.

        Raises FileNotFoundError where there is none, ImageRejected where it is not what was stored.
        """
        try:
            data = self._unseal(path, self.files.read(path, self._most), kind, key)
        except Unusable as error:
            raise _damaged() from error
        is_whole = (
            hashlib.sha256(data).hexdigest() == key
            if kind == IMAGES
            else data[:_DIGEST_BYTES] == _digest(kind, key, data[_DIGEST_BYTES:])
        )
        if not is_whole:
            raise _damaged()
        return data

    def _unseal(self, path: str, data: bytes, kind: str, key: str) -> bytes:
        if is_key(path.rsplit("/", 1)[-1]) or self.keyring is None:
            return data
        from shared.store.encryption import SealBroken  # noqa: PLC0415  # only an encrypted store loads it

        try:
            return self.keyring.unseal(data, f"{kind}/{key}")
        except SealBroken as error:
            raise _damaged() from error

    def names(self, key: str) -> list[str]:
        """Return the names that an image's files may have; the first is the current one."""
        if not is_key(key):
            raise ValueError(f"A key is a sha256 in hexadecimal. Received: {key!r}")
        return [*self.keyring.names(key), key] if self.keyring else [key]

    def place_of(self, kind: str, key: str) -> str:
        """Return the current path of an image's file, or of a picture derived from it."""
        return _place(kind, self.names(key)[0])

    def places_of(self, kind: str, key: str) -> list[str]:
        """Return the paths that it may have, the current one first."""
        return [_place(kind, name) for name in self.names(key)]

    def _find(self, kind: str, key: str) -> bytes | None:
        """Return the content of the first undamaged file; raise ImageRejected where all are damaged."""
        damaged = None
        for path in self._places_to_read(kind, key):
            try:
                return self.read(path, kind, key)
            except FileNotFoundError:
                continue
            except ImageRejected as error:
                damaged = error
        if damaged is not None:
            raise damaged
        return None

    def _places_to_read(self, kind: str, key: str) -> Iterator[str]:
        *sealed, plain = self.places_of(kind, key)
        if self.keyring is None:
            yield plain
            return
        yield from sealed
        if self.key_record.check().takes_unsealed:
            yield plain
        yield from sealed  # sealing again may meanwhile have moved a file to an earlier name

    def _make_sealer(self) -> "Sealer | None":
        if self.keyring is None:
            return None
        from shared.store.encryption import Sealer  # noqa: PLC0415  # only an encrypted store loads it

        return Sealer(self.keyring.first)


class FolderStore(ImageStore):
    """A store in a folder of this machine or of a network share."""

    def __init__(self, root: Path, keyring: "Keyring | None" = None, largest: int = LARGEST) -> None:
        super().__init__(FolderFiles(root), keyring, largest)
        self.root = root


def open_store(settings: Settings) -> ImageStore:
    """Open the store of the settings: a folder or a bucket, encrypted where there is a key.

    Raises StoreMisconfigured where one of its settings is unusable. An unavailable store only raises when used.
    """
    keyring = None
    if settings.store_key is not None:
        from shared.store.encryption import read_keyring  # noqa: PLC0415  # only an encrypted store loads it

        keyring = read_keyring(settings.store_key.get_secret_value())
    largest = max(LARGEST, settings.max_image_bytes)
    if settings.store_url is None:
        return FolderStore(settings.store, keyring, largest)
    from shared.store.bucket import BucketFiles  # noqa: PLC0415  # boto3 takes half a second and 30 MB

    return ImageStore(BucketFiles(settings), keyring, largest)


def _place(kind: str, name: str) -> str:
    """Return the path of a file, in one of 256 folders of a kind.

    Creating a folder takes 145 µs on ext4, an image of 7 KB 34 µs; of 65,536 folders most images needed a new one.
    """
    return f"{kind}/{name[:2]}/{name}"


def _digest(kind: str, key: str, data: bytes) -> bytes:
    """Return a picture's leading digest, which detects one that was emptied or belongs to another image.

    Anyone with write access can forge it in an unencrypted store; in an encrypted one that needs the key.
    """
    return hashlib.sha256(f"{kind}/{key}\n".encode() + data).digest()


def _damaged() -> ImageRejected:
    return ImageRejected(Rejection.IMAGE_DAMAGED)


def is_key(name: str) -> bool:
    """Tell whether a name is a sha256 in hexadecimal; names of sealed files are longer."""
    return len(name) == _SHA256_DIGITS and set(name) <= _DIGITS
