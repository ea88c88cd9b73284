"""The images of an evaluation folder: class subfolders in, pixels, labels, patients and causes out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.dataset import ImageFile, group_images, name_image
from evaluation.errors import DataUnusable
from shared.errors import ImageRejected
from shared.images.preprocess import FORMATS, prepare
from shared.models.spec import ImageClass, Label, ModelSpec
from shared.refusals import explain

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of it are done and how many there are."""


@dataclass(frozen=True)
class LabelledImages:
    """The readable images of an evaluation folder."""

    pixels: np.ndarray
    """uint8 (images, size, size, 1)."""
    truth: np.ndarray
    """bool (images,), True for PNEUMONIA."""
    names: tuple[str, ...]
    unreadable: dict[str, str]
    """Why each file that was left out could not be read, by its name."""
    groups: tuple[str, ...]
    """Images of one patient, where the file names say whose they are, and of one content share a group."""
    causes: tuple[ImageClass | None, ...]
    """The cause of a pneumonia, where the file name says it."""
    named: int
    """How many file names say whose image it is."""


def class_folders(folder: Path) -> dict[Label, Path]:
    """Find the NORMAL and PNEUMONIA folders in `folder`, in whatever case they are written.

    Raises DataUnusable where the folder cannot be read, or one of the two is missing or there twice.
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
    """Read every file under the two class folders; files that are no images are named and left out.

    Memory: the pixels at input size, once; an image's file is let go when it is decoded.
    Raises DataUnusable where a class has no readable image.
    """
    places = class_folders(folder)
    files = {label: _files(place) for label, place in places.items()}
    total = sum(map(len, files.values()))
    # One array from the start: a list of images stacked at its end would hold every image twice.
    pixels = np.empty((total, spec.input_size, spec.input_size, 1), np.uint8)
    images: list[ImageFile] = []
    digests: list[str] = []
    unreadable: dict[str, str] = {}
    for label, paths in files.items():
        read_before = len(images)
        for path in paths:
            try:
                data = path.read_bytes()
                pixels[len(images)] = prepare(data, spec)
            except ImageRejected as refusal:
                unreadable[str(path.relative_to(folder))] = explain(refusal.code, refusal.details).text
            except OSError as error:
                unreadable[str(path.relative_to(folder))] = str(error)
            else:
                images.append(_identify(path, label))
                digests.append(hashlib.sha256(data).hexdigest())
            if progress is not None:
                progress("Reading images", len(images) + len(unreadable), total)
        if len(images) == read_before:
            raise DataUnusable(_nothing_readable(places[label], len(paths), unreadable))
    return LabelledImages(
        pixels=pixels[: len(images)],
        truth=np.array([image.image_class is not ImageClass.NORMAL for image in images]),
        names=tuple(str(image.path.relative_to(folder)) for image in images),
        unreadable=unreadable,
        groups=tuple(group_images(images, digests)),
        causes=tuple(_cause(image) for image in images),
        named=sum(bool(image.series) for image in images),
    )


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def _identify(path: Path, label: Label) -> ImageFile:
    """Read patient and cause from a file name; a name that tells neither stands for a patient of its own."""
    try:
        return name_image(path)
    except DataUnusable:
        image_class = ImageClass.NORMAL if label is Label.NORMAL else ImageClass.PNEUMONIA
        return ImageFile(path, image_class, patient=str(path), series="")


def _cause(image: ImageFile) -> ImageClass | None:
    return image.image_class if image.image_class in {ImageClass.BACTERIAL, ImageClass.VIRAL} else None


def _nothing_readable(place: Path, tried: int, unreadable: dict[str, str]) -> str:
    formats = ", ".join((*FORMATS, "DICOM"))
    if not tried:
        return f"No image in {place} can be read: there is no file in it. Put images in it, as one of: {formats}."
    first = next(f"{name}: {reason}" for name, reason in reversed(unreadable.items()))
    return f"No image in {place} can be read ({tried} files were tried). The last: {first} Expected one of: {formats}."
