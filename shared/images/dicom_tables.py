"""DICOM: lookup tables of modality and VOI transforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.images.dicom_numbers import number, numbers

if TYPE_CHECKING:
    from pydicom import Dataset

_BYTE: Final = 8
_WHOLE_TABLE: Final = 65_536  # the meaning of 0 entries, PS3.3, C.11.1.1.1


@dataclass(frozen=True)
class Table:
    """A lookup table (PS3.3, C.11.1.1)."""

    first: float
    """The value of its first entry; smaller values map to that entry, values beyond the last entry to the last."""
    entries: np.ndarray
    """Float64."""
    bits: int
    """Bits of an entry."""

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Return the entry of each value; NaN for NaN."""
        is_known = np.isfinite(values)
        places = np.clip(np.rint(np.where(is_known, values, self.first)) - self.first, 0, self.entries.size - 1)
        return np.where(is_known, self.entries[places.astype(np.int64)], np.nan)

    def part(self, values: np.ndarray) -> np.ndarray:
        """Return entries scaled from 0, the lowest, to 1, the highest."""
        low, high = float(self.entries.min()), float(self.entries.max())
        return (self.look_up(values) - low) / (high - low)


def read_table(dataset: "Dataset", item: "Dataset", *, is_signed: bool) -> Table | None:
    """Read a lookup table; None where it lacks its data, or maps all values to one.

    The entry depth in its descriptor is often wrong (9 for 12 bits) and is used only for how entries are packed.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or None in descriptor:
        return None
    count, first, depth = (int(part or 0) for part in descriptor)
    count = count % _WHOLE_TABLE or _WHOLE_TABLE
    entries = _entries(item, count, depth, is_little=_is_little(dataset))
    if entries is None or entries.min() == entries.max():
        return None
    if first >= _WHOLE_TABLE // 2 and (is_signed or (number(dataset, "RescaleIntercept") or 0.0) < 0):
        first -= _WHOLE_TABLE
    bits = max(int(entries.max()).bit_length(), min(depth, 16))
    return Table(float(first), entries.astype(np.float64), bits)


def _entries(item: "Dataset", count: int, depth: int, *, is_little: bool) -> np.ndarray | None:
    """Return a table's entries; None where there are fewer than it declares."""
    data = item.get("LUTData")
    if isinstance(data, bytes):
        is_packed = depth <= _BYTE and len(data) < 2 * count
        data = np.frombuffer(data[: len(data) // 2 * 2], "u1" if is_packed else "<u2" if is_little else ">u2")
    elif isinstance(data, Sequence) and all(isinstance(entry, int) and 0 <= entry < _WHOLE_TABLE for entry in data):
        data = np.asarray(data, dtype=np.uint16)
    else:
        return None
    return data[:count] if len(data) >= count else None


def _is_little(dataset: "Dataset") -> bool:
    return dataset.original_encoding[1] is not False
