"""Encryption at rest: AES-256-GCM over chunks, so that images are sealed while received and support random access.

A sealed file is MAGIC, the id of its master key, a random salt, then chunks of CHUNK bytes with a tag of 16 each. The
file's own key is HKDF-SHA256 of master key and salt (RFC 5869). A chunk's nonce is its number and whether it is the
last, so that none can be removed, moved or truncated: the STREAM construction (Hoang et al., CRYPTO 2015) as age uses
it. The last tag also authenticates the file's path, so that no file can replace another.
"""

import base64
import binascii
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import PneumoScreenError, StoreMisconfigured

KEY_BYTES: Final = 32
CHUNK: Final = 64 * 1024
MAGIC: Final = b"PSSEAL\x00\x01"
ID_BYTES: Final = 8
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
HEADER_BYTES: Final = len(MAGIC) + ID_BYTES + SALT_BYTES
_SEALED_CHUNK: Final = CHUNK + TAG_BYTES


class SealBroken(PneumoScreenError):
    """Say that a sealed file is damaged, modified, or at another file's path."""


class MasterKey:
    """One key of 32 bytes, and what is derived from it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = self._derive(b"id", ID_BYTES)
        self._names = AESSIV(self._derive(b"names", 64))

    def _derive(self, purpose: bytes, length: int, salt: bytes | None = None) -> bytes:
        kdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=b"pneumoscreen store v1 " + purpose)
        return kdf.derive(self._secret)

    def cipher(self, salt: bytes) -> AESGCM:
        """Return the cipher of the file with this salt."""
        return AESGCM(self._derive(b"file", KEY_BYTES, salt))

    def name(self, sha256: str) -> str:
        """Return an image's file name: 96 hexadecimal digits, meaningless without the key (AES-SIV, RFC 5297)."""
        return self._names.encrypt(bytes.fromhex(sha256), None).hex()

    def sha256_of(self, name: str) -> str | None:
        """Return the sha256 encrypted in a name; None where another key made the name."""
        try:
            return self._names.decrypt(bytes.fromhex(name), None).hex()
        except (InvalidTag, ValueError):
            return None


class Keyring:
    """The keys of a store: the first one seals, all can open."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        self._keys = tuple(keys)
        self.first = self._keys[0]

    @property
    def ids(self) -> list[str]:
        """Return the ids in hexadecimal, the first key's first. An id reveals nothing about its key."""
        return [key.id.hex() for key in self._keys]

    def names(self, sha256: str) -> list[str]:
        """Return the names that an image's file may have, the likeliest first."""
        return [key.name(sha256) for key in self._keys]

    def sha256_of(self, name: str) -> str | None:
        """Return the sha256 encrypted in a name; None where none of the keys made it."""
        return next((sha256 for key in self._keys if (sha256 := key.sha256_of(name))), None)

    def unseal(self, data: bytes, place: str) -> bytes:
        """Decrypt a sealed file; raise SealBroken where authentication fails."""
        cipher = self._cipher_of(data[:HEADER_BYTES])
        body = memoryview(data)[HEADER_BYTES:]
        return b"".join(
            _open_chunk(cipher, body[start : start + _SEALED_CHUNK], index, is_last, place)
            for index, start, is_last in _chunks(len(body))
        )

    def _cipher_of(self, header: bytes) -> AESGCM:
        magic, rest = header[: len(MAGIC)], header[len(MAGIC) :]
        key = next((key for key in self._keys if key.id == rest[:ID_BYTES]), None)
        if magic != MAGIC or len(header) < HEADER_BYTES or key is None:
            raise SealBroken("The header of a sealed file is damaged.")
        return key.cipher(rest[ID_BYTES:])


def new_key() -> str:
    """Make a key in the form of the setting."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def read_keyring(text: str) -> Keyring:
    """Parse base64 keys separated by commas or white space; raise StoreMisconfigured where one is invalid."""
    words = text.replace(",", " ").split()
    if not words:
        raise StoreMisconfigured("The setting of the store's key is empty. Run 'pneumoscreen store key' to make one.")
    return Keyring([_read_key(word, number) for number, word in enumerate(words, 1)])


def _read_key(word: str, number: int) -> MasterKey:
    try:
        secret = base64.b64decode(word, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise StoreMisconfigured(
            f"A key of the store is {KEY_BYTES} bytes in base64, as 'pneumoscreen store key' makes them. "
            f"Received as number {number}: {len(word)} characters that are not."
        )
    return MasterKey(secret)


class Sealer:
    """Seal one file while it is written; its `header` must be written first."""

    def __init__(self, key: MasterKey) -> None:
        salt = os.urandom(SALT_BYTES)
        self.header = MAGIC + key.id + salt
        self.cipher = key.cipher(salt)
        self._held = bytearray()
        self._index = 0

    def update(self, data: bytes) -> bytes:
        """Add bytes and return the sealed chunks that they complete."""
        self._held += data
        return b"".join(self._full_chunks())

    def _full_chunks(self) -> Iterator[bytes]:
        # A chunk is held back until more follows, as it may be the last.
        while len(self._held) > CHUNK:
            yield self.cipher.encrypt(_nonce(self._index, is_last=False), bytes(self._held[:CHUNK]), None)
            del self._held[:CHUNK]
            self._index += 1

    def finalize(self, place: str) -> bytes:
        """Return the last sealed chunk, which binds the file to its path."""
        return self.cipher.encrypt(_nonce(self._index, is_last=True), bytes(self._held), place.encode())


def seal(key: MasterKey, data: bytes, place: str) -> bytes:
    """Seal a complete file."""
    sealer = Sealer(key)
    return sealer.header + sealer.update(data) + sealer.finalize(place)


class SealedReader(io.RawIOBase):
    """Read an open sealed file with random access, one chunk at a time; raises SealBroken."""

    def __init__(self, descriptor: int, cipher: AESGCM, place: str) -> None:
        self._descriptor, self._cipher, self._place = descriptor, cipher, place
        self._body = os.fstat(descriptor).st_size - HEADER_BYTES
        self._size = self._body - TAG_BYTES * len(list(_chunks(self._body)))
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek to a position and return it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"A place in a file is 0 or more. Received: {origin + offset}")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the rest of one chunk; return 0 at the end."""
        if self._position >= self._size:
            return 0
        index, within = divmod(self._position, CHUNK)
        sealed = os.pread(self._descriptor, _SEALED_CHUNK, HEADER_BYTES + index * _SEALED_CHUNK)
        is_last = (index + 1) * _SEALED_CHUNK >= self._body
        plain = _open_chunk(self._cipher, sealed, index, is_last, self._place)[within : within + len(buffer)]
        buffer[: len(plain)] = plain
        self._position += len(plain)
        return len(plain)


def _chunks(body: int) -> Iterator[tuple[int, int, bool]]:
    """Yield number, start and whether it is the last for each chunk in a body of so many sealed bytes."""
    for index, start in enumerate(range(0, max(body, 1), _SEALED_CHUNK)):
        yield index, start, start + _SEALED_CHUNK >= body


def _nonce(index: int, *, is_last: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([is_last])


def _open_chunk(cipher: AESGCM, sealed: bytes | memoryview, index: int, is_last: bool, place: str) -> bytes:
    try:
        return cipher.decrypt(_nonce(index, is_last=is_last), sealed, place.encode() if is_last else None)
    except InvalidTag as error:
        raise SealBroken("A sealed file is damaged or was changed.") from error
