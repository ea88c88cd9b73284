"""Read elements of a DICOM header as text and dates, in any stored form; unreadable ones count as missing."""

import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom import Dataset

_DAY: Final = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})")
"""Formats of the VR DA; with points as in ACR-NEMA (PS3.5, table 6.2-1)."""


def value(header: "Dataset", name: str) -> Any:
    """Return the value of an element; None where it is missing or damaged.

    pydicom converts values on access, and raises whatever its converters raise.
    """
    try:
        return header.get(name)
    except Exception:  # noqa: BLE001  # as above
        return None


def text(header: "Dataset", name: str) -> str:
    """Return an element's first value as text; empty where there is none, or none convertible to text."""
    found = value(header, name)
    try:
        if isinstance(found, Sequence) and not isinstance(found, str):
            found = next(iter(found), "")
        return str(found or "").strip()
    except Exception:  # noqa: BLE001  # a hostile header can have a dataset or a table here
        return ""


def day(header: "Dataset", name: str) -> date | None:
    """Return an element's date; None where it has none."""
    written = _DAY.fullmatch(text(header, name))
    if written is None:
        return None
    try:
        return date(int(written[1]), int(written[3]), int(written[4]))
    except ValueError:
        return None
