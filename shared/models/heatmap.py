"""Encode and decode heat maps: where on an image a network saw evidence for pneumonia.

A class activation map (Zhou et al. 2016, arXiv:1512.04150): the last feature map gives logits at each of its places,
and their mean is the image's. It is stored as a grey PNG with one pixel per place, about 100 bytes. NumPy is imported
only to make one: the web, which reads them, starts without it.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from PIL import Image

from shared.models.spec import ImageClass

if TYPE_CHECKING:
    import numpy as np

LIMIT: Final = 12.0
"""Largest log-odds that a map can show. All images and models share it, so that two maps can be compared: 998 of 1,000
of compact-cnn's places on 75 originals lie within it."""
EVEN: Final = 128
"""The grey level of a place with evidence neither for nor against pneumonia; 1 and 255 are the limits."""
OVER: Final = 24
"""Places along each side of a whole image's map where the network saw a window, which may shift by one of them."""
STEPS: Final = 127
"""Grey levels on either side of EVEN."""


def evidence(places: "np.ndarray", classes: Sequence[ImageClass]) -> "np.ndarray":
    """Return the log-odds of pneumonia against normal at each place, float32 (N, h, w), from logits (N, h, w, classes).

    Raw logits, not calibrated probabilities: calibration is fitted to whole images and does not apply to places.
    """
    import numpy as np  # noqa: PLC0415  # see the module's docstring

    normal = list(classes).index(ImageClass.NORMAL)
    causes = np.delete(places.astype(np.float32), normal, axis=-1)
    return np.asarray(np.logaddexp.reduce(causes, axis=-1) - places[..., normal], dtype=np.float32)


def lay_over(log_odds: "np.ndarray", window: Sequence[float]) -> "np.ndarray":
    """Expand a window's map (h, w) to the whole image, float32 (OVER, OVER): 0 where the network saw nothing.

    `window` is left, top, right and bottom as fractions of the image's width and height, and may reach beyond it.
    """
    import numpy as np  # noqa: PLC0415  # see the module's docstring

    left, top, right, bottom = window
    middles = (np.arange(OVER) + 0.5) / OVER
    rows = np.floor((middles - top) / (bottom - top) * log_odds.shape[0]).astype(int)
    columns = np.floor((middles - left) / (right - left) * log_odds.shape[1]).astype(int)
    height, width = log_odds.shape
    inside = ((rows >= 0) & (rows < height))[:, np.newaxis] & ((columns >= 0) & (columns < width))
    places = log_odds[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    return np.where(inside, places, np.float32(0.0))


def encode(log_odds: "np.ndarray") -> bytes:
    """Write one map (h, w) as a grey PNG: EVEN is 0, a level is LIMIT / STEPS, values beyond LIMIT are clipped."""
    import numpy as np  # noqa: PLC0415  # see the module's docstring

    levels = np.rint(log_odds * (STEPS / LIMIT)).clip(-STEPS, STEPS) + EVEN
    out = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """Read a map that `encode` wrote: mode L, one pixel a place."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return image.copy()
