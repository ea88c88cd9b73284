"""Fit the statistics that the synthetic sample images are drawn from.

    python -m training.sample_statistics [DATA]

Reads the train split and writes `shared/images/samples.npz` (see `shared/images/samples.py`), in half a minute on one
core. Twenty principal components at 64x64 pixels hold what images of a class have in common and nothing that could
identify one child.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np

from shared.models.spec import ImageClass
from training.data import CLASSES, class_indices, list_images, load_pixels
from training.export import draft_spec
from training.recipes import DEFAULT, RECIPES

ROOT: Final = Path(__file__).parents[1]
SIDE: Final = 64
COMPONENTS: Final = 20


def principal_components(images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find mean (pixels,), components (count, pixels) and their standard deviations (count,) of images (n, pixels)."""
    mean = images.mean(axis=0)
    covariance = np.cov(images - mean, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    components = vectors[:, order].T
    # The sign of an eigenvector is arbitrary; its largest weight is made positive so that the file stays the same.
    strongest = components[np.arange(count), np.abs(components).argmax(axis=1)]
    return mean, components * np.sign(strongest)[:, np.newaxis], np.sqrt(values[order])


def fit_statistics(pixels: np.ndarray, is_normal: np.ndarray) -> dict[str, np.ndarray]:
    """Fit both kinds: uint8 images (n, size, size, 1) and bool (n,) to float16 arrays named `<kind>_<part>`."""
    block = pixels.shape[1] // SIDE
    small = pixels.reshape(-1, SIDE, block, SIDE, block).mean(axis=(2, 4), dtype=np.float32).reshape(len(pixels), -1)
    arrays: dict[str, np.ndarray] = {}
    for kind, chosen in (("normal", is_normal), ("pneumonia", ~is_normal)):
        mean, components, spread = principal_components(small[chosen], COMPONENTS)
        arrays[f"{kind}_mean"] = mean.reshape(SIDE, SIDE).astype(np.float16)
        # Scaled by their standard deviation, so that coefficients are drawn from the standard normal distribution.
        scaled = components * spread[:, np.newaxis]
        arrays[f"{kind}_components"] = scaled.reshape(COMPONENTS, SIDE, SIDE).astype(np.float16)
    return arrays


def main(data: Path) -> None:
    """Fit and write the file."""
    images = list_images(data)
    spec = draft_spec(RECIPES[DEFAULT]).model_copy(update={"input_size": 3 * SIDE})
    pixels, _ = load_pixels(images, spec, ROOT / "runs" / "cache")
    target = ROOT / "shared" / "samples.npz"
    arrays = fit_statistics(pixels, class_indices(images) == CLASSES.index(ImageClass.NORMAL))
    np.savez_compressed(target, allow_pickle=False, **arrays)
    print(f"{target}: {target.stat().st_size:,} bytes from {len(images):,} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data" / "chest_xray" / "train")
