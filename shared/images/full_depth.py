"""Images at full sample depth, for a viewer that applies the window itself: integers of 8 or 16 bits."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image

from shared.images import grayscale

_MOST: Final = 65_535


@dataclass(frozen=True)
class Spacing:
    """Pixel spacing: distances between the centres of neighbouring pixels, in mm."""

    down: float
    across: float
    source: str
    """The DICOM element that it comes from (PS3.3, 10.7.1)."""
    is_corrected: bool
    """Whether lengths are in the body; else in the plane of the detector."""


@dataclass(frozen=True)
class FullDepth:
    """The samples of an upright image with square pixels, and how to display them."""

    samples: np.ndarray
    """uint8 or uint16, (rows, columns)."""
    bits: int
    """Bits per sample in the file."""
    black: float
    """The sample initially drawn black, or white where `is_inverse`."""
    white: float
    is_inverse: bool
    """Whether high samples are dark (MONOCHROME1, WhiteIsZero)."""
    nothing: int | None = None
    """The sample that means no value, such as padding: black in any window."""
    slope: float = 1.0
    intercept: float = 0.0
    """A sample's value in the file is sample * slope + intercept."""
    spacing: Spacing | None = None
    is_linear: bool = False
    """Whether its window has DICOM's function LINEAR, where the width is one more than from black to white."""

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height."""
        return self.samples.shape[1], self.samples.shape[0]

    def resized(self, size: tuple[int, int]) -> "FullDepth":
        """Resize it to another width and height; samples are averaged when shrinking."""
        if size == self.size:
            return self
        samples = np.asarray(Image.fromarray(self.samples).resize(size, Image.Resampling.BILINEAR))
        across, down = self.size[0] / size[0], self.size[1] / size[1]
        spacing = self.spacing
        if spacing is not None:
            spacing = replace(spacing, across=spacing.across * across, down=spacing.down * down)
        return replace(self, samples=samples, spacing=spacing)

    def within(self, side: int, pixels: int) -> "FullDepth":
        """Shrink it to sides of at most `side` and at most `pixels` pixels; return it unchanged where it fits."""
        width, height = self.size
        factor = max(1.0, max(width, height) / side, (width * height / pixels) ** 0.5)
        return self.resized((max(1, int(width / factor)), max(1, int(height / factor))))

    def turned(self, turn: Image.Transpose | None) -> "FullDepth":
        """Return it rotated or mirrored; without spacing, which no such file has."""
        if turn is None:
            return self
        return replace(self, samples=np.asarray(Image.fromarray(self.samples).transpose(turn)), spacing=None)


def of_grey(image: Image.Image) -> FullDepth:
    """Return an image of 8-bit grey."""
    return FullDepth(np.asarray(image, dtype=np.uint8), bits=8, black=0.0, white=255.0, is_inverse=False)


def code(
    samples: np.ndarray,
    values: grayscale.Values = grayscale.as_numbers,
    *,
    step: float | None,
    window: tuple[float, float] | None = None,
    is_inverse: bool = False,
    bits: int,
) -> FullDepth:
    """Encode an image's stored samples as unsigned integers with their meaning.

    `step` is the distance of successive values; without one, or with too many values, they are rounded to 65,534 equal
    steps. The default `window` is the one that `grayscale.draw` uses.
    """
    low, high, has_gaps = grayscale.limits_of(samples, values)
    black, white = window or grayscale.range_of(samples, values)
    if not grayscale.is_tabled(samples):  # those limits may exclude some that the window shows
        unit = step or 1.0
        low -= max(0, math.ceil((low - black) / unit)) * unit
        high = max(high, white)
    if step is None or not step > 0 or (high - low) / step >= _MOST:
        step, bits = (high - low) / (_MOST - 1) or 1.0, 16
    # Samples keep their own numbers where these are integers, and 0 is reserved for "no value".
    first = low / step
    if not (first.is_integer() and has_gaps <= first and high / step <= _MOST):
        first = float(has_gaps)
    least = low - first * step
    most = round((high - least) / step)

    def make(stored: np.ndarray) -> np.ndarray:
        meant = values(stored)
        is_known = np.isfinite(meant)
        numbers = np.rint((np.where(is_known, meant, low) - least) / step)
        return np.where(is_known, np.clip(numbers, first, most), 0).astype(dtype)

    dtype = np.uint8 if most <= 255 else np.uint16
    return FullDepth(
        grayscale.convert(samples, make, dtype),
        bits=bits,
        black=(black - least) / step,
        white=(white - least) / step,
        is_inverse=is_inverse,
        nothing=0 if has_gaps else None,
        slope=step,
        intercept=least,
    )
