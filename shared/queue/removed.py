"""How much retention has removed, or would remove."""

from dataclasses import astuple, dataclass
from typing import Self


@dataclass(frozen=True)
class Removed:
    """What was removed, or would be."""

    jobs: int = 0
    screenings: int = 0
    predictions: int = 0
    images: int = 0
    image_bytes: int = 0
    stray_files: int = 0
    """Files in the store that no row names, such as those left by a failed request."""
    stray_bytes: int = 0

    def __add__(self, other: Self) -> "Removed":
        return Removed(*[mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)])
