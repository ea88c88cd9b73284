"""Whether an image shows anything: a network answers a black square as surely as a radiograph.

Measured on every eighth row and column of the network's input, each beside its neighbour, in 20 microseconds. The
limits lie between 60 kinds of drawn junk and 6,600 chest X-rays from six sources, none of which is refused. What is
blank, noise, a smooth ramp, or of so few greys that it is a drawing, a test pattern or a page of text is refused;
pictures of something else, coarse or blurred noise, blobs and waves are not.
"""

import math
from typing import Final

import numpy as np

from shared.errors import FilmRejected, Rejection

_STEP: Final = 8
_FINE_STEP: Final = 4
_LEAST_DEVIATION: Final = 6.0
"""Of the greys from their mean; of the 6,600 the least is 15.5."""
_LEAST_LIKENESS: Final = 0.7
"""Of neighbours, as their correlation, by rows and by columns; the least is 0.81. Noise and text reach 0.68 at most."""
_MANY_GREYS: Final = 80
"""Of 400 pixels; so many are no drawing, and their entropy need not be known."""
_LEAST_BITS: Final = 4.5
"""Of entropy in the greys; the least is 5.2."""
_STEEP: Final = 30.0
"""The mean square of the difference between neighbours; a ramp from black to white comes to 6 at most."""
_PARTS: Final = 40
_LEAST_BEND: Final = 0.72
"""Of greys along a row or column in so many parts, as the mean second difference; the least is 3.4."""


def refuse_without_content(pixels: np.ndarray) -> None:
    """Raise FilmRejected where a network's input, uint8 (H, W), shows nothing that could be a radiograph."""
    some = pixels[:-1:_STEP, :-1:_STEP].ravel().astype(np.float32)
    variance = float(some @ some) / some.size - (float(some.sum()) / some.size) ** 2
    if variance < _LEAST_DEVIATION**2:
        raise _refused("is blank: nearly all of it is the same grey")
    right = pixels[:-1:_STEP, 1::_STEP].ravel() - some
    below = pixels[1::_STEP, :-1:_STEP].ravel() - some
    unlikeness = max(float(right @ right), float(below @ below)) / some.size
    if unlikeness > 2 * variance * (1 - _LEAST_LIKENESS):
        raise _refused("is noise, text or a fine pattern: neighbouring pixels have little to do with each other")
    if len(set(pixels[::_STEP, ::_STEP].tobytes())) < _MANY_GREYS and _bits(pixels) < _LEAST_BITS:
        raise _refused("has few greys, as a drawing or a test pattern has")
    if unlikeness < _STEEP and _bend(pixels) < _LEAST_BEND:
        raise _refused("is a smooth ramp of greys without any detail")


def _bits(pixels: np.ndarray) -> float:
    counts = np.bincount(pixels[::_FINE_STEP, ::_FINE_STEP].ravel())
    counts = counts[counts > 0]
    total = int(counts.sum())
    return float(math.log2(total) - counts @ np.log2(counts) / total)


def _bend(pixels: np.ndarray) -> float:
    """Return the mean second difference along the rows or the columns, whichever is smaller."""
    step = max(1, pixels.shape[0] // _PARTS)
    some = pixels[::step, ::step].astype(np.int16)
    along = np.abs(some[:, 2:] + some[:, :-2] - 2 * some[:, 1:-1])
    across = np.abs(some[2:] + some[:-2] - 2 * some[1:-1])
    return min(float(along.mean()), float(across.mean()))


def _refused(what: str) -> FilmRejected:
    return FilmRejected(Rejection.NO_CONTENT, f"The image {what}. Send the chest radiograph itself.")
