"""Read a site's own images without labels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.errors import DataUnusable
from evaluation.labelled import Progress
from shared.errors import ImageRejected
from shared.images.preprocess import prepare_unless_refused
from shared.models.spec import ModelSpec
from shared.refusals import explain

FEWEST_IMAGES: Final = 100
"""With fewer, the share that a threshold flags is off by more than ten points as often as not: of 100 images of which
30 are flagged, the 95 % interval is 22 to 40."""


@dataclass(frozen=True)
class UnlabelledImages:
    """The images of a folder that a model can read."""

    pixels: np.ndarray
    """uint8 (images, size, size, 1)."""
    refused: dict[str, str]
    """Why each other file gets no label, by its name."""


def read_unlabelled(folder: Path, spec: ModelSpec, progress: Progress | None = None) -> UnlabelledImages:
    """Read every file under `folder` as a worker would, including the gate; copies of an image count once.

    Raises DataUnusable where the folder cannot be read or has fewer than FEWEST_IMAGES images that the model can read.
    """
    try:
        if not folder.is_dir():
            raise DataUnusable(f"There is no folder {folder}. Give a folder of this site's images.")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise DataUnusable(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error
    pixels = np.empty((len(paths), spec.input_size, spec.input_size, 1), np.uint8)
    refused: dict[str, str] = {}
    known: set[bytes] = set()
    for done, path in enumerate(paths, start=1):
        try:
            data = path.read_bytes()
            pixels[len(known)] = prepare_unless_refused(data, spec)
            known.add(hashlib.sha256(data).digest())
        except ImageRejected as refusal:
            refused[str(path.relative_to(folder))] = explain(refusal.code, refusal.details).text
        except OSError as error:
            refused[str(path.relative_to(folder))] = str(error.strerror)
        if progress is not None:
            progress("Reading images", done, len(paths))
    read = len(known)
    if read < FEWEST_IMAGES:
        raise DataUnusable(
            f"A threshold for a share of images needs at least {FEWEST_IMAGES} that {spec.name} may read. Received: "
            f"{read} in {folder}, copies counted once, and {len(refused)} files that get no label. Add images."
        )
    return UnlabelledImages(pixels[:read], refused)
