"""Read the images of an evaluation folder: from class subfolders to pixels, labels, patients and causes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evaluation.dataset import ImageFile, group_images, name_image
from evaluation.errors import DataUnusable
from shared.errors import ImageRejected
from shared.images.preprocess import FORMATS, prepare_unless_refused
from shared.models.spec import ImageClass, Label, ModelSpec
from shared.refusals import explain

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, how many items are done and how many there are."""
Read = Callable[[], bytes]
"""Reads an image's file; raises ImageRejected or OSError where it cannot be read."""


_NAME_DIGITS = 16


@dataclass(frozen=True)
class LabelledImages:
    """The labelled images that a model can read."""

    pixels: np.ndarray
    """uint8 (images, size, size, 1)."""
    truth: np.ndarray
    """bool (images,), True for PNEUMONIA."""
    names: tuple[str, ...]
    refused: dict[str, str]
    """Why each file left out gets no label, by its name: it is unreadable, or the model is not made for it."""
    groups: tuple[str, ...]
    """Images of one patient, where known, and images of one content share a group."""
    causes: tuple[ImageClass | None, ...]
    """The cause of a pneumonia, where the file name gives it."""
    named: int
    """Number of images whose patient is known."""
    digests: tuple[str, ...]
    """The sha256 of each file: copies of an image share it."""
    patient_source: str = "file name"
    """What identifies an image's patient."""


def class_folders(folder: Path) -> dict[Label, Path]:
    """Find the NORMAL and PNEUMONIA folders in `folder`, in upper or lower case.

    Raises DataUnusable where the folder cannot be read, or one of the two is missing or exists twice.
    """
    try:
        if not folder.is_dir():
            raise DataUnusable(f"There is no folder {folder}. Give a folder with the subfolders NORMAL and PNEUMONIA.")
        places = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.upper() in Label.__members__]
    except OSError as error:
        raise DataUnusable(f"{folder} cannot be read: {error.strerror}. Check its permissions.") from error
    found = {label: path for label in Label for path in places if path.name.upper() == label}
    if len(found) < len(places):
        names = ", ".join(path.name for path in places)
        raise DataUnusable(f"{folder} holds a class twice ({names}). Keep one folder for NORMAL and one for PNEUMONIA.")
    if missing := [label for label in Label if label not in found]:
        held = ", ".join(found) or "neither"
        raise DataUnusable(
            f"{folder} has no subfolder {' and no '.join(missing)} (found: {held}). "
            "Recall and specificity need images of both classes: put each image in NORMAL or PNEUMONIA."
        )
    return found


def read_images(folder: Path, spec: ModelSpec, progress: Progress | None = None) -> LabelledImages:
    """Read every file under the two class folders; files that are no images are listed and left out.

    Memory: the pixels at input size, once; an image's file is released when it is decoded.
    Raises DataUnusable where a class has no readable image.
    """
    places = class_folders(folder)
    files = {label: _files(place) for label, place in places.items()}
    reading = _Reading(spec, sum(map(len, files.values())), progress)
    for label, paths in files.items():
        read_before = len(reading.images)
        for path in paths:
            reading.add(str(path.relative_to(folder)), _identify(path, label), path.read_bytes)
        if len(reading.images) == read_before:
            raise DataUnusable(_nothing_readable(places[label], len(paths), reading.refused))
    return reading.finish()


@dataclass(frozen=True)
class ReviewedImage:
    """An image whose label readers have given."""

    sha256: str
    label: Label
    read: Read
    patient: str | None = None
    """The patient's pseudonym; None where the patient is unknown."""


def read_reviewed(images: Sequence[ReviewedImage], spec: ModelSpec, progress: Progress | None = None) -> LabelledImages:
    """Read images with the labels that readers gave; unreadable ones are listed and left out.

    Each is named by the first digits of its sha256: a file name may name a patient. Raises DataUnusable where a class
    has no readable image.
    """
    reading = _Reading(spec, len(images), progress)
    for image in images:
        name = image.sha256[:_NAME_DIGITS]
        image_class = ImageClass.NORMAL if image.label is Label.NORMAL else ImageClass.PNEUMONIA
        # Not the bare pseudonym: `group_images` parses names of the data set as patients.
        patient = image.sha256 if image.patient is None else f"patient {image.patient}"
        reading.add(name, ImageFile(Path(name), image_class, patient, series=image.patient or ""), image.read)
    found = replace(reading.finish(), patient_source="DICOM header")
    missing = [label for label in Label if not ((found.truth == (label is Label.PNEUMONIA)).any())]
    if missing:
        last = next(reversed(found.refused.values()), None)
        raise DataUnusable(
            f"Of {len(images)} reviewed images none that can be read is labelled {' or '.join(missing)}. "
            "Recall and specificity need reviews of both."
            + (f" {len(found.refused)} cannot be read, the last of them: {last}" if last else "")
        )
    return found


@dataclass
class _Reading:
    """Images being read one after the other."""

    spec: ModelSpec
    total: int
    progress: Progress | None
    names: list[str] = field(default_factory=list)
    images: list[ImageFile] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One array from the start: a list of images stacked at its end would hold every image twice.
        self.pixels = np.empty((self.total, self.spec.input_size, self.spec.input_size, 1), np.uint8)

    def add(self, name: str, image: ImageFile, read: Read) -> None:
        try:
            data = read()
            self.pixels[len(self.images)] = prepare_unless_refused(data, self.spec)
        except ImageRejected as refusal:
            self.refused[name] = explain(refusal.code, refusal.details).text
        except OSError as error:
            self.refused[name] = str(error)
        else:
            self.names.append(name)
            self.images.append(image)
            self.digests.append(hashlib.sha256(data).hexdigest())
        if self.progress is not None:
            self.progress("Reading images", len(self.images) + len(self.refused), self.total)

    def finish(self) -> LabelledImages:
        return LabelledImages(
            pixels=self.pixels[: len(self.images)],
            truth=np.array([image.image_class is not ImageClass.NORMAL for image in self.images], dtype=bool),
            names=tuple(self.names),
            refused=self.refused,
            groups=tuple(group_images(self.images, self.digests)),
            causes=tuple(_cause(image) for image in self.images),
            named=sum(bool(image.series) for image in self.images),
            digests=tuple(self.digests),
        )


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def _identify(path: Path, label: Label) -> ImageFile:
    """Read patient and cause from a file name; a name without them counts as a patient of its own."""
    try:
        return name_image(path)
    except DataUnusable:
        image_class = ImageClass.NORMAL if label is Label.NORMAL else ImageClass.PNEUMONIA
        return ImageFile(path, image_class, patient=str(path), series="")


def _cause(image: ImageFile) -> ImageClass | None:
    return image.image_class if image.image_class in {ImageClass.BACTERIAL, ImageClass.VIRAL} else None


def _nothing_readable(place: Path, tried: int, refused: dict[str, str]) -> str:
    formats = ", ".join((*FORMATS, "DICOM"))
    if not tried:
        return f"No image in {place} can be read: there is no file in it. Put images in it, as one of: {formats}."
    first = next(f"{name}: {reason}" for name, reason in reversed(refused.items()))
    return f"No image in {place} can be read ({tried} files were tried). The last: {first} Expected one of: {formats}."
