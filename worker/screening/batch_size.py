"""How many films a worker takes at a time."""

from typing import Final

BATCH_SECONDS: Final = 0.25
"""Work that a worker takes at a time. Someone's single film waits for it, and a batch costs the database about 9 ms."""
FIRST_FILMS: Final = 8
"""Taken before it is known how long one takes."""


class Pace:
    """How long films took lately, and so how many fill BATCH_SECONDS."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._films = self._seconds = 0.0

    def films(self) -> int:
        """Return how many films to take, 1 to `most`."""
        if not self._films:
            return min(FIRST_FILMS, self._most)
        return max(1, min(self._most, int(BATCH_SECONDS * self._films / max(self._seconds, 1e-9))))

    def note(self, films: int, seconds: float) -> None:
        """Count the films that a micro-batch predicted; what was before counts half as much each time."""
        if not films:
            return
        self._films = self._films / 2 + films
        self._seconds = self._seconds / 2 + seconds
