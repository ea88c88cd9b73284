"""Cache on disk what frozen layers output for images that are never augmented."""

import hashlib
import os
from pathlib import Path
from typing import Final

import numpy as np

from training.fixed_layers import Lower

LARGEST: Final = float(np.finfo(np.float16).max)


class KeptFeatures:
    """Answer as `Lower` does, from one cached file for each image that this or an earlier training has run.

    Files are float16, which rounds by 0.05 % at most, named by the sha256 of the image's pixels, in a folder named by
    layers and weights: 50 KB an image for VGG16, 200 KB up to the fourth block of VGG19. Each is written atomically, so
    a stopped training, or another one with the same layers, can reuse them.
    """

    def __init__(self, lower: Lower, cache: Path) -> None:
        self.shape = lower.shape
        self._lower = lower
        self._folder = cache / f"features-{lower.fingerprint[:16]}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Return the layer's output, float32 (images, h, w, channels), for uint8 (images, size, size, 1)."""
        files = [self._folder / f"{hashlib.sha256(image.tobytes()).hexdigest()}.npy" for image in images]
        missing = [place for place, file in enumerate(files) if not file.is_file()]
        if missing:
            said = self._lower.answer(images[missing])
            for place, features in zip(missing, said, strict=True):
                _keep(files[place], features)
        return np.stack([np.load(file) for file in files]).astype(np.float32)


def _keep(file: Path, features: np.ndarray) -> None:
    # Another training of the same layers may write the same file.
    fresh = file.with_suffix(f".{os.getpid()}.part")
    with fresh.open("wb") as opened:
        np.save(opened, np.clip(features, -LARGEST, LARGEST).astype(np.float16))
    fresh.replace(file)
