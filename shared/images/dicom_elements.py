"""Elements of a DICOM header as text and days, whatever form they are stored in; what cannot be read says nothing."""

import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom import Dataset

_DAY: Final = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})")
"""Of the representation DA; with points as ACR-NEMA had it (PS3.5, table 6.2-1)."""


def value(header: "Dataset", name: str) -> Any:
    """Return what an element holds; None where it is missing or damaged.

    pydicom converts a value when it is asked for, and raises whatever its converters do.
    """
    try:
        return header.get(name)
    except Exception:  # noqa: BLE001  # as above
        return None


def text(header: "Dataset", name: str) -> str:
    """Return an element's first value as text; empty where there is none, or none that can be written."""
    found = value(header, name)
    try:
        if isinstance(found, Sequence) and not isinstance(found, str):
            found = next(iter(found), "")
        return str(found or "").strip()
    except Exception:  # noqa: BLE001  # a header can call anything a date, and have a dataset or a table there
        return ""


def day(header: "Dataset", name: str) -> date | None:
    """Return the day that an element names; None where it names none."""
    written = _DAY.fullmatch(text(header, name))
    if written is None:
        return None
    try:
        return date(int(written[1]), int(written[3]), int(written[4]))
    except ValueError:
        return None
