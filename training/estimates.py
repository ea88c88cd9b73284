"""Estimate a model's performance elsewhere: three estimates side by side, of which the worst is the one to report.

`random patients` are the training set's own, and optimistic: the data set's biases that a model learned hold there,
too. `reframed` are the same images, each shown in the framing of another image, drawn from both classes: lungs at that
image's place, height and width. The lungs themselves do not change, so what a model loses it owed to the framing. For
the two models measured independently it was within 0.07 of the result, where random patients were off by 0.3.
`elsewhere` are other hospitals, by source and view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from evaluation.dataset import ImageFile, group_images
from evaluation.metrics import report, share_interval
from evaluation.operating_points import operating_points, short_thresholds
from shared.errors import ImageRejected
from shared.images.framing import VERSION, Box, cut, load
from shared.images.preprocess import decode, fit, prepare
from shared.models.spec import ImageClass, ModelSpec
from training.data import list_images, load_pixels
from training.elsewhere import IndexedImage, validation_images
from training.layout import SIDE, power
from training.recipe import Recipe
from training.split import WHOLE, hold_out, whole_images

RANDOM: Final = "random patients"
REFRAMED: Final = "reframed"
ELSEWHERE: Final = "elsewhere"
SEED: Final = 0
LEAST: Final = 8
"""The least images of one source and view for a meaningful share."""


@dataclass(frozen=True)
class Shown:
    """The images of one estimate, as a model sees them."""

    name: str
    pixels: np.ndarray
    """uint8 (images, size, size, 1)."""
    truth: np.ndarray
    """bool (images,), True for pneumonia."""
    groups: tuple[str, ...]
    """Patients, from the file names or the index."""
    parts: tuple[str, ...]
    """Subgroups of the figures: source, view and age for images from elsewhere."""
    rows: tuple[int, ...]
    """The images' indices among those requested."""
    without_lungs: int
    """Images left out because a model that needs lungs framed found none."""


def held_out_images(
    data: Path, recipe: Recipe, spec: ModelSpec, cache: Path | None = None
) -> tuple[list[ImageFile], list[str]]:
    """Return the images of the patients that a training by `recipe` holds out, and their groups."""
    files = list_images(data)
    groups, held = hold_out(files, *load_pixels(files, whole_images(spec, recipe), cache), recipe)
    rows = np.flatnonzero(held)
    return [files[i] for i in rows], [groups[i] for i in rows]


def show_random(files: Sequence[ImageFile], groups: Sequence[str], spec: ModelSpec) -> Shown:
    """Prepare held-out images as they are."""
    return _show(RANDOM, [_read(file, spec) for file in files], files, groups, [""] * len(files))


def show_reframed(files: Sequence[ImageFile], groups: Sequence[str], spec: ModelSpec) -> Shown:
    """Prepare each held-out image in the framing of another one."""
    images = [decode(file.path.read_bytes(), WHOLE) for file in files]
    boxes = [load(VERSION).find(image).box for image in images]
    others = np.random.default_rng(SEED).permutation(len(files))
    shown = [
        _prepare(reframe(image, own, boxes[other]), spec)
        for image, own, other in zip(images, boxes, others, strict=True)
    ]
    return _show(REFRAMED, shown, files, groups, [""] * len(files))


def reframe(image: Image.Image, own: Box, other: Box) -> Image.Image:
    """Move, shrink and stretch an image so that the content of `own` fills `other`: a square of WHOLE pixels."""
    x = (own.right - own.left) / (other.right - other.left)
    y = (own.bottom - own.top) / (other.bottom - other.top)
    left, top = own.left - other.left * x, own.top - other.top * y
    return Image.fromarray(cut(image, Box(left, top, left + x, top + y), WHOLE))


def layout_power(data: Path, spec: ModelSpec) -> tuple[float, float]:
    """Return how well thumbnails of images prepared by `spec` predict the class, as they are and reframed: two AUCs.

    `data` is the training set's folder; images without lungs to frame are left out.
    """
    files = list_images(data)
    small = spec.model_copy(update={"input_size": SIDE})
    images = [decode(file.path.read_bytes(), WHOLE) for file in files]
    boxes = [load(VERSION).find(image).box for image in images]
    others = np.random.default_rng(SEED).permutation(len(files))
    plain = [_prepare(image, small) for image in images]
    moved = [
        _prepare(reframe(image, own, boxes[other]), small)
        for image, own, other in zip(images, boxes, others, strict=True)
    ]
    pairs = [
        (i, one, two)
        for i, (one, two) in enumerate(zip(plain, moved, strict=True))
        if one is not None and two is not None
    ]
    groups = group_images(files, [str(file.path) for file in files])
    truth = np.array([files[i].image_class is not ImageClass.NORMAL for i, _, _ in pairs])
    return power(
        np.stack([one for _, one, _ in pairs]),
        np.stack([two for _, _, two in pairs]),
        truth,
        [groups[i] for i, _, _ in pairs],
    )


def show_elsewhere(folder: Path, spec: ModelSpec) -> Shown:
    """Prepare the validation images of other sources, in parts by source, view and age."""
    listed = validation_images(folder)
    files = [file.file for file in listed]
    patients = [file.file.patient for file in listed]
    return _show(ELSEWHERE, [_read(file, spec) for file in files], files, patients, [_part(file) for file in listed])


def _part(file: IndexedImage) -> str:
    return " ".join(filter(None, (file.source, file.view, "children" if file.is_child else "adults")))


def _read(file: ImageFile, spec: ModelSpec) -> np.ndarray | None:
    try:
        return prepare(file.path.read_bytes(), spec)
    except ImageRejected:
        return None


def _prepare(image: Image.Image, spec: ModelSpec) -> np.ndarray | None:
    try:
        return fit(image, spec)
    except ImageRejected:
        return None


def _show(
    name: str,
    pixels: Sequence[np.ndarray | None],
    files: Sequence[ImageFile],
    groups: Sequence[str],
    parts: Sequence[str],
) -> Shown:
    rows = [i for i, found in enumerate(pixels) if found is not None]
    return Shown(
        name=name,
        pixels=np.stack([found for found in pixels if found is not None]),
        truth=np.array([files[i].image_class is not ImageClass.NORMAL for i in rows]),
        groups=tuple(groups[i] for i in rows),
        parts=tuple(parts[i] for i in rows),
        rows=tuple(rows),
        without_lungs=len(files) - len(rows),
    )


_COUNTED: Final = ("threshold", "true_positive", "false_positive", "false_negative", "true_negative")


def measure_shown(shown: Shown, p_pneumonia: np.ndarray, threshold: float) -> dict[str, Any]:
    """Return the figures of one estimate with 95 % intervals by patient, and recall or specificity of each part.

    `operating_points` has the counts of correct and wrong calls at other thresholds.
    """
    figures = report(shown.truth, p_pneumonia, threshold, shown.groups)
    figures["without_lungs"] = shown.without_lungs
    figures["patients"] = len(set(shown.groups))
    parts = [part for part in sorted(set(shown.parts)) if part]
    figures["parts"] = [row for part in parts for row in _rows(shown, p_pneumonia >= threshold, part)]
    points = operating_points(shown.truth, p_pneumonia, short_thresholds(threshold), ())
    figures["operating_points"] = [{key: row[key] for key in _COUNTED} for row in points]
    return figures


def _rows(shown: Shown, called: np.ndarray, part: str) -> list[dict[str, Any]]:
    of_part = np.array([own == part for own in shown.parts])
    rows = []
    for is_sick, name in ((False, "specificity"), (True, "recall")):
        chosen = np.flatnonzero(of_part & (shown.truth == is_sick))
        if len(chosen) < LEAST:
            continue
        right = called[chosen] == is_sick
        low, high = share_interval(right, [shown.groups[i] for i in chosen])
        rows.append(
            {
                "part": part,
                "figure": name,
                "images": len(chosen),
                "right": int(right.sum()),
                "share": round(float(right.mean()), 4),
                "interval_95": [round(low, 4), round(high, 4)],
            }
        )
    return rows
