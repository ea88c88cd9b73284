"""DICOM: numbers, words and items of a header; unusable ones are None or left out."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom import Dataset

_MOST: Final = 1e12
"""No slope, intercept, window or pixel is larger; beyond it, differences of one are lost in float64."""
MOST_CHOICES: Final = 8
"""The most items or values of an element that are read."""


def items(dataset: "Dataset", keyword: str) -> "Sequence[Dataset]":
    """Return the items of a sequence; empty where the element is anything else."""
    from pydicom import Sequence as Items  # noqa: PLC0415  # pydicom is loaded by whoever has a dataset

    value = dataset.get(keyword)
    return list(value)[:MOST_CHOICES] if isinstance(value, Items) else []


def word(dataset: "Dataset", keyword: str) -> str:
    """Return an element's code word in upper case; empty where there is none."""
    value = dataset.get(keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def number(dataset: "Dataset", keyword: str) -> float | None:
    """Return the first number of an element; None where it is missing or unusable."""
    return (*numbers(dataset, keyword), None)[0]


def numbers(dataset: "Dataset", keyword: str) -> list[float | None]:
    """Return the numbers of an element, None for each unusable one."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, (str, int, float)) or not isinstance(value, Sequence):
        value = [value]
    return [_as_number(each) for each in value]


def _as_number(value: Any) -> float | None:
    """Parse a number; some write it with a decimal comma (PS3.5, 6.2, allows only the point)."""
    if isinstance(value, str):
        try:
            value = float(value.strip().replace(",", "."))
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > _MOST:
        return None
    return float(value)


def whole(value: object, least: int, most: int) -> int | None:
    """Return a whole number within bounds; None for anything else."""
    return value if isinstance(value, int) and least <= value <= most else None
