"""Receive an image into the store."""

import hashlib
import io
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from shared.errors import TranslatableError
from shared.store.folder import RaiseStoreAway, reopen

if TYPE_CHECKING:
    from shared.store.encryption import Sealer

IMAGES: Final = "images"
_STORE: Final = TranslatableError("The image store")


class Incoming:
    """An image being received: a temporary file, hashed while written, and sealed where the store is encrypted."""

    def __init__(self, file: BinaryIO, sealer: "Sealer | None" = None) -> None:
        self.file = file
        self._sealer = sealer
        self._hash = hashlib.sha256()
        self._is_finished = False
        self._whole = b""
        """All content, where it came in one piece, as for most small images."""
        self.size = 0
        if sealer is not None:
            self._put(sealer.header)

    def write(self, data: bytes) -> None:
        """Append bytes; raise StoreFull where the disk has no room."""
        self._put(self._sealer.update(data) if self._sealer else data)
        self._hash.update(data)
        self._whole = b"" if self.size else bytes(data)
        self.size += len(data)

    def finish(self) -> None:
        """Finish writing; the content can be read from now on."""
        if not self._is_finished and self._sealer is not None:
            self._put(self._sealer.finalize(self._place))
        self._is_finished = True
        with RaiseStoreAway(_STORE):
            self.file.flush()

    def force(self) -> None:
        """Force the content to disk before it is moved into place, so that an existing name is a complete image."""
        self.finish()
        with RaiseStoreAway(_STORE):
            os.fsync(self.file.fileno())

    def open(self) -> BinaryIO:
        """Open the content as received; call `finish` first."""
        if len(self._whole) == self.size:
            return io.BytesIO(self._whole)
        if self._sealer is None:
            return reopen(self.file)
        from shared.store.encryption import CHUNK, SealedReader  # noqa: PLC0415  # only an encrypted store loads it

        return io.BufferedReader(SealedReader(self.file.fileno(), self._sealer.cipher, self._place), CHUNK)

    @property
    def sha256(self) -> str:
        """Return the hash of the content so far, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def _place(self) -> str:
        return f"{IMAGES}/{self.sha256}"

    def _put(self, data: bytes) -> None:
        with RaiseStoreAway(_STORE):
            self.file.write(data)
