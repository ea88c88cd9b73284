"""Digests of secrets generated here; only the digests are stored."""

import hashlib


def digest(secret: str) -> str:
    """Return the digest to store for a generated secret: it has 256 random bits, for which a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
