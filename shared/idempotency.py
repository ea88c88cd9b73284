"""Idempotency keys: what a sender repeats a request under, and the refusal of another request under the same key."""

from dataclasses import dataclass

from shared.errors import KeyReused


@dataclass(frozen=True)
class IdempotencyKey:
    """What a sender repeats a request under: the same key of the same account is accepted once."""

    text: str
    digest: str | None = None
    """Of the request that comes under it; another request under the same key is then refused."""

    def check_repeated(self, known_digest: str | None) -> None:
        """Raise KeyReused where the row under this key is of another request; rows of old have no digest."""
        if known_digest is not None and self.digest != known_digest:
            raise KeyReused(
                "This key was used for another request before, and nothing of this one was kept."
                " Send it under a new key."
            )
