"""Check e-mail addresses with the standard library's parser, which also writes the headers."""

from email.errors import MessageError
from email.headerregistry import Address
from typing import Final

LONGEST: Final = 254
"""RFC 5321, section 4.5.3.1.3: 256 with the brackets around it."""


def to_ascii(text: str) -> str | None:
    """Return an address as mail servers take it, its domain in ASCII (IDNA); None where it is not exactly one address.

    So it holds no display name, comment or line break. The part before the @ has to be ASCII: few servers take anything
    else (RFC 6531).
    """
    name, _, domain = text.rpartition("@")
    try:
        address = f"{name}@{domain.encode('idna').decode()}"
        parsed = Address(addr_spec=address)
    except (UnicodeError, MessageError, ValueError, IndexError):  # IndexError: from the parser, for truncated texts
        return None
    is_plain = address.isascii() and address.isprintable() and not set(address) & set(' "[]')
    return address if is_plain and len(address) <= LONGEST and parsed.addr_spec == address else None
