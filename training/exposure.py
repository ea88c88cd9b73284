"""Measure brightness and contrast of the images that models were trained on, to detect drift of exposure.

    python -m training.exposure [MODEL ...]

Writes `exposure.json` into the folder of each named model, or of all: two minutes. Training writes it by itself. The
images are those of the train split and of the other sources that the model's recipe names, each once and unchanged;
those on which a model that frames lungs finds none are left out, as they were in its training.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import ImageRejected
from shared.images.exposure import GREYS, measure
from shared.images.preprocess import prepare
from shared.models.exposures import TrainingExposure, write_exposure
from shared.models.folder import SPEC_FILE, read_spec
from shared.models.metrics import read_metrics
from shared.models.spec import ModelSpec
from training.data import list_images
from training.elsewhere import read_index

MODELS: Final = Path(__file__).parents[1] / "models"
DATA: Final = Path("..") / "shared" / "data"


def measure_training(images: Iterable[Path], spec: ModelSpec) -> TrainingExposure:
    """Count images by brightness and contrast as a model sees them."""
    counts = np.zeros((2, GREYS), np.int64)
    for image in images:
        try:
            exposure = measure(prepare(image.read_bytes(), spec))
        except ImageRejected:
            continue
        counts[(0, 1), exposure] += 1
    brightness, contrast = counts.tolist()
    return TrainingExposure(
        sha256=spec.sha256, images=sum(brightness), brightness=tuple(brightness), contrast=tuple(contrast)
    )


def _trained_on(folder: Path, data: Path) -> list[Path]:
    """List the images that the model of a folder was trained on."""
    sources = read_metrics(folder).get("recipe", {}).get("elsewhere", ())
    others = [image.file for source in sources for image in read_index(data / "elsewhere" / source)]
    return [image.path for image in (*list_images(data / "chest_xray" / "train"), *others)]


def main() -> None:
    """Measure the training images of models and write their files."""
    asked = argparse.ArgumentParser(description=main.__doc__)
    asked.add_argument("models", nargs="*", metavar="MODEL", help="Names. Default: every model of the project.")
    asked.add_argument("--data", type=Path, default=DATA, help="The shared data. Default: ../shared/data.")
    given = asked.parse_args()
    names = given.models or sorted(path.parent.name for path in MODELS.glob(f"*/{SPEC_FILE}"))
    for name in names:
        found = measure_training(_trained_on(MODELS / name, given.data), read_spec(MODELS / name))
        write_exposure(MODELS / name, found)
        print(f"{name}: {found.images:,} images")


if __name__ == "__main__":
    main()
