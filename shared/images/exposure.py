"""Measure an image's brightness and contrast as a model sees it, the two numbers to detect drift by.

Both are grey levels of 0 (black) to 255 (white) after decoding, windowing and framing, not dose. `shared.images.gate`
refuses single images as too dark or too bright.
"""

from typing import Final, NamedTuple

import numpy as np

GREYS: Final = 256
DARK, BRIGHT = 5, 95
"""Percentiles between which contrast is measured, to exclude single pixels, markers and unexposed corners."""
_SIDE: Final = 64
"""Every second of 160 pixels and every third of 224 is counted, in each direction: a third of the work, and on 300
originals brightness is within 1 and contrast within 5 levels of what all pixels give, both within 0.3 in the mean."""


class Exposure(NamedTuple):
    """Brightness and contrast of one image, each 0 to 255."""

    brightness: int
    """The median grey: half of the pixels are as dark or darker."""
    contrast: int
    """The difference of the 95th and the 5th percentile of grey."""


def measure(pixels: np.ndarray) -> Exposure:
    """Measure a network's input, uint8 (size, size, 1).

    Percentiles are the grey of a pixel (nearest rank), so that they follow any monotonic change of grey exactly.
    """
    step = max(1, len(pixels) // _SIDE)
    counts = np.bincount(pixels[::step, ::step].ravel(), minlength=GREYS).cumsum()
    ranks = [-(-int(counts[-1]) * percent // 100) for percent in (DARK, 50, BRIGHT)]
    dark, median, bright = counts.searchsorted(ranks).tolist()
    return Exposure(median, bright - dark)
