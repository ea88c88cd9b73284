"""Pseudonyms for names and patients: deterministic, and irreversible without the key."""

import hashlib
import hmac
import json
import re
from pathlib import PurePosixPath
from typing import Final

from shared.images.dicom_patient import Patient
from shared.settings import Settings

# An extension may be a name, too, so only these are kept.
SUFFIXES: Final = {".bmp", ".dcm", ".dicom", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", ".zip"}

_DIGITS: Final = 20  # 80 bits: among 10^9 names the chance of a collision is 1 in 2 million
_PSEUDONYM: Final = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


def conceal(name: str, settings: Settings) -> str:
    """Return a name as it may be stored: itself or, where the settings ask for it, with a pseudonym for each path part.

    A pseudonym is the first 80 bits of HMAC-SHA256 (RFC 2104) of the part, in hexadecimal, and the part's extension if
    that is one of SUFFIXES.
    """
    if not settings.pseudonymise_names:
        return name
    key = _key(settings)
    return "/".join(_pseudonym(part, key) for part in name.replace("\\", "/").split("/") if part)


def conceal_key(key: str, settings: Settings) -> str:
    """Return a sender's idempotency key as it may be stored; programs derive keys from file names, too."""
    if not settings.pseudonymise_names:
        return key
    return hmac.new(_key(settings), b"key " + key.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def conceal_patient(patient: Patient, settings: Settings) -> str | None:
    """Return a patient's pseudonym, 64 hexadecimal digits; None where no key is set or patients are not to be kept.

    It is the HMAC-SHA256 of issuer, number and date of birth, whether or not names are concealed.
    """
    if not settings.match_patients or (settings.pseudonym_key is None and settings.secret_key is None):
        return None
    # Domain separation: no path part has a slash and no sender's key begins so, so their pseudonyms differ from these.
    key = hmac.new(_key(settings), b"patients/v1", hashlib.sha256).digest()
    identity = json.dumps([patient.issuer, patient.number, patient.born])
    return hmac.new(key, identity.encode(), hashlib.sha256).hexdigest()


def describe_received(value: object, settings: Settings) -> str:
    """Say what was received, for an error message; only of what kind it is where names are concealed."""
    return f"a value of the kind {type(value).__name__}" if settings.pseudonymise_names else repr(value)


def may_stand_for(pseudonym: str, name: str) -> bool:
    """Tell whether one name could be another's pseudonym, as far as can be told without the key."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    found = pseudonym.split("/")
    return len(parts) == len(found) and all(
        _PSEUDONYM.fullmatch(it.removesuffix(_suffix(part))) is not None and it.endswith(_suffix(part))
        for it, part in zip(found, parts, strict=True)
    )


def _pseudonym(part: str, key: bytes) -> str:
    return hmac.new(key, part.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:_DIGITS] + _suffix(part)


def _suffix(part: str) -> str:
    suffix = PurePosixPath(part).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _key(settings: Settings) -> bytes:
    if settings.pseudonym_key is not None:
        return settings.pseudonym_key.get_secret_value().encode()
    secret = settings.secret_key.get_secret_value() if settings.secret_key else ""
    # Not the signing key itself: a key must serve one purpose only.
    return hmac.new(secret.encode(), b"pneumoscreen pseudonyms v1", hashlib.sha256).digest()
