"""Argon2id hashes of passwords: hash, compare, and rehash where cost parameters are outdated."""

import secrets
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.accounts.refusal import AccountRefused

PASSWORD_LENGTH: Final = 12
"""NIST SP 800-63B requires length, not kinds of characters."""
LONGEST_PASSWORD: Final = 1024

# Argon2id parameters of OWASP's Password Storage Cheat Sheet: 19 MiB, two passes. The library's default of 64 MiB would
# be half of what the web process may use.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """Return the hash of a new password; raise AccountRefused where its length or text is not allowed."""
    if not PASSWORD_LENGTH <= len(password) <= LONGEST_PASSWORD:
        most, length = f"{LONGEST_PASSWORD:,}", f"{len(password):,}"
        raise AccountRefused(
            "A password has %(least)s to %(most)s characters. Received: %(length)s.",
            least=PASSWORD_LENGTH,
            most=most,
            length=length,
        )
    if not _is_text(password):
        raise AccountRefused("A password is text in UTF-8. Received: bytes that are none.")
    return _hasher.hash(password)


def matches(password: str, known: str | None) -> bool:
    """Tell whether a password matches a hash; without a hash, that takes as long as a wrong password."""
    if not _is_text(password):
        return False
    try:
        _hasher.verify(known or _decoy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return known is not None


def is_outdated(known: str) -> bool:
    """Tell whether a hash was made with outdated cost parameters."""
    return _hasher.check_needs_rehash(known)


def rehash(password: str) -> str:
    """Hash a password that was just checked with today's cost parameters."""
    return _hasher.hash(password)


def _is_text(given: str) -> bool:
    """Tell whether a text can be encoded in UTF-8; arguments of the command line may hold other bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in given)


@cache
def _decoy_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe())
