"""Parse folders and file names of the data set: class, patient and cause; group by patient, guard the test split.

The folder is that of Kermany et al. 2018 (doi 10.17632/rscbjbr9sj.2, CC BY 4.0): `NORMAL` and `PNEUMONIA`, with the
patient and the cause in the file name.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import DataUnusable
from shared.models.spec import ImageClass, Label

TRAIN_SPLIT, TEST_SPLIT = "train", "test"

_NORMAL_NAME = re.compile(r"^(?P<patient>(?P<series>NORMAL2-IM|IM)-\d+)-")
_PNEUMONIA_NAME = re.compile(r"^(?P<patient>person\d+)_(?P<series>bacteria|virus)_")
_CAUSES = {"bacteria": ImageClass.BACTERIAL, "virus": ImageClass.VIRAL}


@dataclass(frozen=True)
class ImageFile:
    """One image of the data set, described by its file."""

    path: Path
    image_class: ImageClass
    patient: str
    """As in the file name: `person12`, `IM-0115` or `NORMAL2-IM-0383`."""
    series: str
    """`IM` or `NORMAL2-IM` for normal images, `bacteria` or `virus` for pneumonia."""


def name_image(path: Path) -> ImageFile:
    """Read an image's class, patient and series from its folder and file name.

    Raises DataUnusable where folder or name do not follow the data set's scheme.
    """
    folder = path.parent.name.upper()
    if folder == Label.NORMAL and (match := _NORMAL_NAME.match(path.name)):
        return ImageFile(path, ImageClass.NORMAL, match["patient"], match["series"])
    if folder == Label.PNEUMONIA and (match := _PNEUMONIA_NAME.match(path.name)):
        return ImageFile(path, _CAUSES[match["series"]], match["patient"], match["series"])
    raise DataUnusable(
        f"'{folder}/{path.name}' does not name its patient and cause. Expected NORMAL/IM-0001-..., "
        f"NORMAL/NORMAL2-IM-0001-... or PNEUMONIA/person1_bacteria_... or person1_virus_..."
    )


def refuse_test_split(folder: Path) -> None:
    """Raise DataUnusable for a folder `test` beside a `train`: figures on a split used for fitting mean nothing."""
    place = folder.resolve()
    if place.name.lower() == TEST_SPLIT and (place.parent / TRAIN_SPLIT).is_dir():
        raise DataUnusable(
            f"{folder} is a test split. It is there to measure a finished model (pneumoscreen evaluate); nothing is "
            "trained or fitted on it. Give other images."
        )


def group_images(
    images: Sequence[ImageFile], digests: Sequence[str], pairs: Iterable[tuple[int, int]] = ()
) -> list[str]:
    """Group images of one patient, of one content and of `pairs`; return each image's group name.

    IM-0500 and NORMAL2-IM-0500 count as one patient: nothing proves that they are, but grouping them costs nothing. A
    group is named after its first patient by name.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    owner: dict[str, str] = {}
    for image, digest in zip(images, digests, strict=True):
        join(image.patient, image.patient.removeprefix("NORMAL2-"))
        join(image.patient, owner.setdefault(digest, image.patient))
    for one, other in pairs:
        join(images[one].patient, images[other].patient)
    return [root(image.patient) for image in images]
