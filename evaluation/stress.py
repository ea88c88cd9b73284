"""Fixed image changes that mimic another X-ray room, to measure how a model's figures hold up.

The published test images differ from the training images in framing, exposure and sharpness. None of them is available
here, so the held-out images are changed instead, each in one way, strongly but within what occurs in practice.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageFilter


def stress_images(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images, uint8 (images, size, size, 1), once for each change, in the same shape."""
    return {
        name: np.stack([np.asarray(change(Image.fromarray(image[..., 0])))[..., np.newaxis] for image in pixels])
        for name, change in CHANGES.items()
    }


def _tone(image: Image.Image, gamma: float) -> Image.Image:
    return image.point([round(255 * (level / 255) ** gamma) for level in range(256)])


def _frame(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Crop to the box given in fractions of the image's side; outside the image is black."""
    side = image.width
    box = (round(left * side), round(top * side), round(right * side), round(bottom * side))
    return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)


def _noise(image: Image.Image) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 10, (image.height, image.width))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


FRAMINGS: Final = ("closer crop", "wider frame", "narrower", "closer crop, blurred")
"""Changes of how much an image shows around the lungs, which framing undoes."""
CHANGES: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "darker": lambda image: _tone(image, 1.7),
    "lighter": lambda image: _tone(image, 0.6),
    "flat": lambda image: image.point([round(70 + level * 0.45) for level in range(256)]),
    "closer crop": lambda image: _frame(image, 0.1, 0.08, 0.9, 0.92),
    "wider frame": lambda image: _frame(image, -0.08, -0.08, 1.08, 1.08),
    "narrower": lambda image: _frame(image, -0.12, 0.0, 1.12, 1.0),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.2)),
    "noisy": _noise,
    "closer crop, blurred": lambda image: _frame(image, 0.1, 0.12, 0.9, 0.96).filter(ImageFilter.GaussianBlur(1.0)),
}
