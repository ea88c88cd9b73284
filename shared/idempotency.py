"""Idempotency keys: they identify a repeated request; another request under the same key is refused."""

from dataclasses import dataclass

from shared.errors import KeyReused


@dataclass(frozen=True)
class IdempotencyKey:
    """Identify a request that may be repeated: the same key of the same account is accepted once."""

    text: str
    digest: str | None = None
    """Digest of the request; another request under the same key is then refused."""

    def check_repeated(self, known_digest: str | None) -> None:
        """Raise KeyReused where the row under this key belongs to another request; old rows have no digest."""
        if known_digest is not None and self.digest != known_digest:
            raise KeyReused(
                "This key was used for another request before, and nothing of this one was kept."
                " Send it under a new key."
            )
