"""DICOM: the position of a sample in its container, and which containers are padding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.errors import ImageRejected
from shared.images import grayscale
from shared.images.dicom_numbers import number, whole
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

_CODESTREAMS: Final = "1.2.840.10008.1.2.4."
"""Prefix of the transfer syntaxes of JPEG and relatives, which have only the stored bits; others have containers."""


@dataclass(frozen=True)
class Layout:
    """The position of a sample in its container (PS3.5, 8.1.1)."""

    width: int
    """Bits of a container."""
    stored: int
    """Bits of a sample."""
    shift: int
    """Unused bits below it."""
    is_signed: bool
    is_whole: bool
    """Whether samples are whole numbers; if not, the rest does not apply."""
    overlays: int
    """Bit mask of overlays in a container."""

    @classmethod
    def of(cls, dataset: "Dataset", samples: np.ndarray) -> "Layout":
        """Read the layout of a radiograph's samples from its header."""
        width = samples.dtype.itemsize * 8
        stored = whole(dataset.get("BitsStored"), 1, width) or width
        high = whole(dataset.get("HighBit"), stored - 1, width - 1)
        is_codestream = str(dataset.file_meta.get("TransferSyntaxUID", "")).startswith(_CODESTREAMS)
        return cls(
            width=width,
            stored=stored,
            shift=high + 1 - stored if high is not None and not is_codestream else 0,
            is_signed=dataset.get("PixelRepresentation") == 1,
            is_whole=samples.dtype.kind in "iu",
            overlays=_overlay_bits(dataset),
        )

    def possible(self) -> tuple[float, float]:
        """Return the lowest and the highest possible sample."""
        if self.is_signed:
            return float(-(1 << self.stored - 1)), float((1 << self.stored - 1) - 1)
        return 0.0, float((1 << self.stored) - 1)

    def sample(self, containers: np.ndarray) -> np.ndarray:
        """Extract samples from their containers, as float64; those that overflow are far beyond the highest."""
        if not self.is_whole:
            return containers.astype(np.float64)
        bits = containers.astype(np.int64) >> self.shift & (1 << self.stored) - 1
        if self.is_signed:
            bits -= (bits >> self.stored - 1) << self.stored
        return np.where(self.overflows(containers), 16.0 * (1 << self.width), bits)

    def overflows(self, containers: np.ndarray) -> np.ndarray:
        """Tell for each container whether it has bits above the sample that are neither its sign nor an overlay."""
        if not self.is_whole:
            return np.zeros(containers.shape, dtype=bool)
        top = self.shift + self.stored
        above = ((1 << self.width) - 1) & ~((1 << top) - 1) & ~self.overlays
        bits: np.ndarray = containers.astype(np.int64) & above
        has_more: np.ndarray = np.not_equal(bits, 0)
        if not self.is_signed:
            return has_more
        is_negative = containers.astype(np.int64) >> top - 1 & 1 == 1
        overflows: np.ndarray = has_more & ~(is_negative & np.equal(bits, above))
        return overflows


def _overlay_bits(dataset: "Dataset") -> int:
    """Return the mask of the bits that overlays use according to the file (PS3.3 of 2004, C.9.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        place = whole(dataset[group, 0x0102].value, 1, 31) if (group, 0x0102) in dataset else None
        bits |= 1 << place if place is not None else 0
    return bits


def refuse_if_overflowing(layout: Layout, found: np.ndarray, counts: np.ndarray) -> None:
    """Refuse an image that needs more bits than its header declares: rendered with those it would wrap around."""
    if counts[layout.overflows(found)].sum() > grayscale.TAIL * counts.sum():
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="stored_bits", bits=layout.stored)


def find_padding(
    layout: Layout, dataset: "Dataset", found: np.ndarray, counts: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a test for padding containers (PS3.3, C.7.5.1.1.2); where all would be padding, none is."""
    limits = [_pad(dataset, layout, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    first, last = limits[0], limits[1] if limits[1] is not None else limits[0]
    if first is None or last is None:
        return _none
    low, high = min(first, last), max(first, last)
    lowest, highest = layout.possible()
    # Some pad with a value that does not fit into the stored bits.
    unstored = [limit for limit in (low, high) if not lowest <= limit <= highest]

    def is_padding(containers: np.ndarray) -> np.ndarray:
        samples = layout.sample(containers)
        is_one: np.ndarray = ((samples >= low) & (samples <= high)) | np.isin(containers, unstored)
        return is_one

    left = counts[~is_padding(found)].sum()
    return is_padding if left > grayscale.TAIL * counts.sum() else _none


def _none(containers: np.ndarray) -> np.ndarray:
    return np.zeros(containers.shape, dtype=bool)


def _pad(dataset: "Dataset", layout: Layout, keyword: str) -> float | None:
    """Return one limit of the padding; a signed one may be written as unsigned, or vice versa."""
    value = number(dataset, keyword)
    if value is None or not layout.is_whole:
        return value
    if layout.is_signed and value >= 1 << layout.width - 1:
        return value - (1 << layout.width)
    return value + (1 << layout.width) if value < 0 and not layout.is_signed else value
