"""Personal details beside the login name: a display name in any script, and an e-mail address."""

import re
from typing import Final
from unicodedata import normalize

from shared import email_addresses
from shared.accounts.refusal import AccountRefused
from shared.letters import is_shown
from shared.tables import User

DISPLAY_NAME_LENGTH: Final = 128
EMAIL_LENGTH: Final = email_addresses.LONGEST

# Only sending shows whether mail arrives; this catches typing errors and values in the wrong field.
_EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[^\s@<>()\[\],;:\\\"]+")
_SHOWN: Final = 80


def describe(user: User, display_name: str | None, email: str | None) -> bool:
    """Set display name and e-mail address; an empty text removes one. Return whether anything changed.

    Raises AccountRefused where one of them is invalid.
    """
    before = user.display_name, user.email
    user.display_name, user.email = read_display_name(display_name), read_email(email)
    return (user.display_name, user.email) != before


def read_display_name(given: str | None) -> str | None:
    """Return a display name, NFC-composed and stripped; None where it is empty."""
    name = normalize("NFC", given or "").strip()
    if not name:
        return None
    if len(name) > DISPLAY_NAME_LENGTH or not all(is_shown(letter) for letter in name):
        raise AccountRefused(
            "A display name has at most %(most)s letters, digits, spaces and marks of any script, and no control "
            "characters. Received: %(name)s",
            most=DISPLAY_NAME_LENGTH,
            name=repr(name[:_SHOWN]),
        )
    return name


def read_email(given: str | None) -> str | None:
    """Return an e-mail address, stripped; None where it is empty."""
    address = (given or "").strip()
    if not address:
        return None
    if len(address) > EMAIL_LENGTH or not _EMAIL.fullmatch(address) or not address.isprintable():
        raise AccountRefused(
            "An e-mail address has one @ with something on both sides, and at most %(most)s characters. "
            "Received: %(address)s",
            most=EMAIL_LENGTH,
            address=repr(address[:_SHOWN]),
        )
    return address
