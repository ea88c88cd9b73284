"""Images of other hospitals: more images to train on, and external validation of models not trained on them.

There is one folder per source and part, `nih/train` or `hannover/shifted_validation`, each with an `index.csv`: file,
label, view, patient, age and the label's origin.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evaluation.dataset import ImageFile
from evaluation.errors import DataUnusable
from shared.models.spec import ImageClass, Label

INDEX: Final = "index.csv"
VALIDATION: Final = "shifted_validation"
VIRAL: Final = frozenset({"COVID-19"})
"""Labels in the indexes that count as viral; the cause of all others is unknown."""
ADULT: Final = 18
CELL: Final = 160
"""Draws per epoch for one source, view and label: few enough that no source becomes a shortcut to its label."""
MOST_DRAWS: Final = 6


@dataclass(frozen=True)
class IndexedImage:
    """An image of another hospital and its entry in the index."""

    file: ImageFile
    source: str
    view: str
    """`AP` or `PA`, or empty."""
    is_child: bool
    is_read: bool
    """Whether the label comes from a person who looked at the image."""

    @property
    def cell(self) -> tuple[str, str, bool]:
        """Return the source, the view and whether the image shows pneumonia."""
        return self.source, self.view, self.file.image_class is not ImageClass.NORMAL


def read_index(folder: Path) -> list[IndexedImage]:
    """List the images of `folder` that its index calls NORMAL or PNEUMONIA.

    Raises DataUnusable where there is no index or it lacks a column.
    """
    try:
        with (folder / INDEX).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["label"] in Label.__members__]
            return [_image(folder, row) for row in rows]
    except FileNotFoundError as error:
        raise DataUnusable(f"There is no {INDEX} in {folder}. Give the folder that holds the other sources.") from error
    except (KeyError, ValueError) as error:
        raise DataUnusable(f"{folder / INDEX} cannot be read: {error}. Restore it.") from error


def _image(folder: Path, row: dict[str, str]) -> IndexedImage:
    name = ImageClass.NORMAL if row["label"] == Label.NORMAL else ImageClass.PNEUMONIA
    if name is ImageClass.PNEUMONIA and row["cause"] in VIRAL:
        name = ImageClass.VIRAL
    view, source = row["view"].upper(), row["set"]
    return IndexedImage(
        file=ImageFile(folder / row["file"], name, row["patient"], f"{source} {view}".strip()),
        source=source,
        view=view if view in {"AP", "PA"} else "",
        is_child=bool(row["age"]) and float(row["age"]) < ADULT,
        is_read=row["label_source"] == "reader",
    )


def validation_images(folder: Path) -> list[IndexedImage]:
    """List the validation images of every source under `folder`.

    Raises DataUnusable where there are none.
    """
    places = sorted(path.parent for path in folder.glob(f"*/{VALIDATION}/{INDEX}"))
    if not places:
        raise DataUnusable(f"No {VALIDATION}/{INDEX} under {folder}. Give the folder that holds the other sources.")
    return [image for place in places for image in read_index(place)]


def draws(images: Sequence[IndexedImage]) -> list[int]:
    """Return how often an epoch draws each image, so that every source, view and label gets about CELL draws."""
    counts = Counter(image.cell for image in images)
    return [max(1, min(MOST_DRAWS, round(CELL / counts[image.cell]))) for image in images]
