"""Heat maps in colour: the coarse grid of a stored map, interpolated over the whole image."""

import io
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from PIL import Image

from shared.models.heatmap import EVEN, STEPS, decode
from web.lists.listing import ScreeningDetail

SIDE: Final = 320
"""Longer side in pixels: enough for a smooth map, which the browser scales up."""


@dataclass(frozen=True)
class Stop:
    """One colour stop of the scale."""

    at: float
    """From -1, most evidence against pneumonia, to 1, most for it."""
    rgb: tuple[int, int, int]
    opacity: float

    @property
    def offset(self) -> str:
        """Return the position of the colour on the scale, from left to right."""
        return f"{(self.at + 1) / 2:.0%}"


# Blue against orange, which people who cannot tell red from green can distinguish. Lightness and opacity grow with the
# evidence on both sides, so that the strongest places stand out and the image shows through where there is little.
SCALE: Final = (
    Stop(-1.0, (150, 214, 240), 0.6),
    Stop(-0.5, (52, 136, 190), 0.36),
    Stop(0.0, (28, 84, 140), 0.0),
    Stop(0.0, (150, 40, 10), 0.0),
    Stop(0.5, (226, 96, 22), 0.45),
    Stop(1.0, (255, 206, 84), 0.7),
)


def draw(heat_map: bytes, screening: ScreeningDetail) -> bytes:
    """Draw a stored map as a PNG in the image's own proportions, to overlay it; the colours are those of SCALE."""
    width, height = screening.width or 1, screening.height or 1
    factor = SIDE / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    # Values are interpolated before they become colours: interpolated colours would show values that no place has.
    smooth = decode(heat_map).resize(size, Image.Resampling.BILINEAR)
    colours = [colour(level) for level in range(256)]
    smooth.putpalette([channel for rgb, _ in colours for channel in rgb])
    out = io.BytesIO()
    smooth.save(out, "PNG", transparency=bytes(round(opacity * 255) for _, opacity in colours))
    return out.getvalue()


def colour(level: int) -> tuple[tuple[int, int, int], float]:
    """Interpolate the colour and opacity of one grey level of a map."""
    value = max(-1.0, min(1.0, (level - EVEN) / STEPS))
    low, high = next((low, high) for low, high in pairwise(SCALE) if value <= high.at)
    share = (value - low.at) / (high.at - low.at)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low.rgb, high.rgb, strict=True))
    return (red, green, blue), low.opacity + (high.opacity - low.opacity) * share
