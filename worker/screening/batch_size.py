"""How many images a worker takes at a time."""

from typing import Final

BATCH_SECONDS: Final = 0.25
"""Work that a worker takes at a time. Someone's single image waits for it, and a batch costs the database about 9
ms."""
FIRST_IMAGES: Final = 8
"""Taken before it is known how long one takes."""


class BatchSize:
    """How long images took lately, and so how many fill BATCH_SECONDS."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._images = self._seconds = 0.0

    def images(self) -> int:
        """Return how many images to take, 1 to `most`."""
        if not self._images:
            return min(FIRST_IMAGES, self._most)
        return max(1, min(self._most, int(BATCH_SECONDS * self._images / max(self._seconds, 1e-9))))

    def note(self, images: int, seconds: float) -> None:
        """Count the images that a micro-batch predicted; what was before counts half as much each time."""
        if not images:
            return
        self._images = self._images / 2 + images
        self._seconds = self._seconds / 2 + seconds
