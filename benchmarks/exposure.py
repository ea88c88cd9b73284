"""Measure the cost of measuring brightness and contrast when an image is prepared.

    python -m benchmarks.exposure [MODEL]

Prints the processor time per image, over 400 of 224 pixels: decoding, gate and preparing, then measuring.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.images import small
from shared.errors import ImageRejected
from shared.images.exposure import measure
from shared.images.preprocess import prepare_unless_refused
from shared.models.folder import read_spec

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 400
ROUNDS = 5


def microseconds(act: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the processor time per item in the fastest of ROUNDS."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for item in items:
            act(item)
        taken.append((time.process_time() - began) / len(items) * 1e6)
    return min(taken)


def main(name: str) -> None:
    """Measure and print."""
    spec = read_spec(ROOT / "models" / name)

    def prepare(data: bytes) -> Any:
        try:
            return prepare_unless_refused(data, spec)
        except ImageRejected:
            return None

    contents = [path.read_bytes() for path in small(IMAGES)]
    pixels = [found for found in map(prepare, contents) if found is not None]
    print(f"{name}, {spec.input_size} pixels, {len(pixels)} images, an image in microseconds of a processor:")
    print(f"decoding, gate, preparing  {microseconds(prepare, contents):8.1f}")
    print(f"brightness and contrast    {microseconds(measure, pixels):8.1f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["whole-mobilenet"]))
