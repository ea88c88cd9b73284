"""Digests of secrets that are made here; only these are kept."""

import hashlib


def digest(secret: str) -> str:
    """Return what is kept of a secret that was made here: 256 random bits, for which a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
