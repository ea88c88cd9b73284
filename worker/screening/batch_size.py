"""Choose how many images a worker claims at once."""

from typing import Final

BATCH_SECONDS: Final = 0.25
"""Duration of a batch. Someone's single image waits for it, and a batch costs the database about 9 ms."""
FIRST_IMAGES: Final = 8
"""Batch size before it is known how long an image takes."""


class BatchSize:
    """Estimate how many images fill BATCH_SECONDS from how long recent ones took."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._images = self._seconds = 0.0

    def images(self) -> int:
        """Return how many images to claim, 1 to `most`."""
        if not self._images:
            return min(FIRST_IMAGES, self._most)
        return max(1, min(self._most, int(BATCH_SECONDS * self._images / max(self._seconds, 1e-9))))

    def note(self, images: int, seconds: float) -> None:
        """Record the images that a micro-batch predicted; each call halves the weight of earlier ones."""
        if not images:
            return
        self._images = self._images / 2 + images
        self._seconds = self._seconds / 2 + seconds
