"""Digest requests, to detect an idempotency key reused for another request."""

import hashlib
import json
from collections.abc import Iterable, Iterator

from shared.intake.accept import display_name
from shared.intake.pseudonyms import conceal
from shared.settings import Settings


class RequestDigest:
    """The digest of a request with an idempotency key: its kind, its fields and each of its files, as they stream in.

    Names are digested as stored, so that the digest reveals nothing that pseudonyms conceal.
    """

    def __init__(self, kind: str, settings: Settings) -> None:
        self._kind = kind
        self._settings = settings
        self._files: list[tuple[str, str]] = []

    def watch(self, file_name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass a file's chunks through; it is included once read to its end."""
        content = hashlib.sha256()
        for chunk in chunks:
            content.update(chunk)
            yield chunk
        self._files.append((conceal(display_name(file_name), self._settings), content.hexdigest()))

    def hexdigest(self, *fields: object) -> str:
        """Return the digest of the whole request in hexadecimal."""
        return hashlib.sha256(json.dumps([self._kind, fields, self._files]).encode()).hexdigest()
