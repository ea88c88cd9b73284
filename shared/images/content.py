"""Refuse images without content: a network predicts a black square as confidently as a radiograph.

It is measured on 20 rows and columns of the network's input, each pixel with its neighbours, in 20 microseconds. The
limits separate 60 kinds of synthetic junk from 6,600 chest X-rays of six sources, none of which is refused. Refused are
blank images, noise, smooth ramps, and images of few greys such as drawings, test patterns or pages of text; pictures of
other things, coarse or blurred noise and waves are not.
"""

import math
from typing import Final

import numpy as np

from shared.errors import ImageRejected
from shared.refusals import Rejection

_PARTS: Final = 20
_FINE_PARTS: Final = 40
_EDGES: Final = 4
_LEAST_DEVIATION: Final = 6.0
"""Deviation of the greys from their mean; the least of the 6,600 is 13.9."""
_LEAST_LIKENESS: Final = 0.85
"""Correlation of neighbours; the least is 0.96. Noise and text reach 0.8."""
_MANY_GREYS: Final = 80
"""Distinct greys of 400 pixels; with so many it is no drawing, and the entropy is not needed."""
_LEAST_BITS: Final = 5.0
"""Bits of entropy in the greys without the most frequent; the least is 5.6."""
_STEEP: Final = 8.0
"""Mean square difference of neighbours; a wave from black to white and back has 6."""
_LEAST_BEND: Final = 0.7
_LEAST_BEND_EACH: Final = 0.01
"""Mean second difference along a row or column in 40 parts: that of a rounded ramp, plus a part per grey of deviation.
The least of the 6,600 is 3.5, where 1.5 would be refused."""


def refuse_without_content(pixels: np.ndarray) -> None:
    """Raise ImageRejected where a network's input, uint8 (H, W), shows nothing that could be a radiograph."""
    step = max(1, pixels.shape[0] // _PARTS)
    here, there = slice(step // 2, -1, step), slice(step // 2 + 1, None, step)
    some = pixels[here, here].astype(np.float32)
    flat = some.ravel()
    variance = float(flat @ flat) / flat.size - (float(flat.sum()) / flat.size) ** 2
    if variance < _LEAST_DEVIATION**2:
        raise ImageRejected(Rejection.NO_CONTENT, case="blank")
    right, below = pixels[here, there] - some, pixels[there, here] - some
    unlikeness = float(np.vdot(right, right) + np.vdot(below, below)) / (2 * flat.size)
    most = 2 * variance * (1 - _LEAST_LIKENESS)
    if unlikeness > most and (_without_edges(right, 0) + _without_edges(below, 1)) / 2 > most:
        raise ImageRejected(Rejection.NO_CONTENT, case="noise")
    if len(set(pixels[here, here].tobytes())) < _MANY_GREYS and _bits(pixels) < _LEAST_BITS:
        raise ImageRejected(Rejection.NO_CONTENT, case="few_greys")
    if unlikeness < _STEEP and _bend(pixels) < _LEAST_BEND + _LEAST_BEND_EACH * math.sqrt(variance):
        raise ImageRejected(Rejection.NO_CONTENT, case="plain")


def _without_edges(differences: np.ndarray, axis: int) -> float:
    """Return the mean square without the rows or columns with most, which may be along a border."""
    sums = np.sort(np.square(differences).sum(axis))[:-_EDGES]
    mean: float = sums.sum().item() / (sums.size * differences.shape[axis])
    return mean


def _bits(pixels: np.ndarray) -> float:
    """Return the entropy of the greys without the most frequent, which may be a wide border."""
    step = max(1, pixels.shape[0] // _FINE_PARTS)
    counts = np.sort(np.bincount(pixels[::step, ::step].ravel()))[:-1]
    counts = counts[counts > 0]
    total = int(counts.sum())
    mean: float = np.dot(counts, np.log2(counts)).item() / max(1, total)
    return math.log2(max(1, total)) - mean


def _bend(pixels: np.ndarray) -> float:
    """Return the smaller of the mean second differences along rows and along columns, without the border."""
    step = max(1, pixels.shape[0] // _FINE_PARTS)
    some = pixels[::step, ::step].astype(np.int16)
    border = np.bincount(some.ravel()).argmax()
    along = np.abs(some[:, 2:] + some[:, :-2] - 2 * some[:, 1:-1])
    across = np.abs(some[2:] + some[:-2] - 2 * some[1:-1])
    share = float((some != border).mean())
    return min(float(along.mean()), float(across.mean())) / share if share else 0.0
