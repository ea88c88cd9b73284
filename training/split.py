"""Split the images into those trained on and those held out."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from evaluation.dataset import ImageFile, group_images
from evaluation.errors import DataUnusable
from shared.images.framing import CONFIDENT, VERSION, load
from shared.models.spec import ImageClass, ModelSpec
from training.data import (
    class_indices,
    find_lungs,
    list_images,
    load_pixels,
    near_duplicates,
    split_by_group,
)
from training.elsewhere import draws, read_index
from training.layout import SIDE, hardest_normals, layout_scores
from training.recipe import Recipe
from training.style import across_groups, describe_making, learn_making

logger = logging.getLogger(__name__)

WHOLE: Final = 224
"""Side in pixels of the training set's files."""


@dataclass(frozen=True)
class Side:
    """The images of one side of a split."""

    images: list[ImageFile]
    pixels: np.ndarray
    """uint8 (images, side, side, 1): at the recipe's source size for training, at its input size for measuring."""
    groups: list[str]
    by_making: np.ndarray
    """p(pneumonia) by the image's making alone, float (images,), learned from other images of the training side."""
    repeats: tuple[int, ...]
    """How often an epoch draws each image."""

    @property
    def drawn(self) -> np.ndarray:
        """Return the indices of the images that an epoch draws, int64 (draws,), in order."""
        return np.repeat(np.arange(len(self.images)), self.repeats)

    @property
    def truth(self) -> np.ndarray:
        """Return the true labels, bool (images,), True for pneumonia."""
        return np.array([image.image_class is not ImageClass.NORMAL for image in self.images])

    def classes(self, names: Sequence[ImageClass]) -> np.ndarray:
        """Return each image's class as its index in `names`, int64 (images,)."""
        return class_indices(self.images, names)

    def targets(self, names: Sequence[ImageClass]) -> np.ndarray:
        """Return the targets, float32 (images, classes): the class, or both causes equally where none is known."""
        known = [image.image_class in names or ImageClass.PNEUMONIA in names for image in self.images]
        causes = np.array([name is not ImageClass.NORMAL for name in names], np.float32)
        hot = np.tile(causes / causes.sum(), (len(self.images), 1))
        rows = np.flatnonzero(known)
        hot[rows] = np.eye(len(names), dtype=np.float32)[class_indices([self.images[i] for i in rows], names)]
        return hot

    def find_boxes(self) -> np.ndarray:
        """Return the box around the lungs of each image, float (images, 4), NaN where none can be found."""
        found = [load(VERSION).find(Image.fromarray(image[..., 0])) for image in self.pixels]
        return np.array([lungs.box if lungs.confidence >= CONFIDENT else (np.nan,) * 4 for lungs in found])

    def weights(self, largest: float) -> np.ndarray:
        """Give images made like the other class more weight, float32 (images,), at most `largest` times another's.

        One over the probability of an image's class given its making, as inverse propensity weights (Rosenbaum and
        Rubin 1983) remove a confounder; the mean weight of each class is 1, which keeps its share.
        """
        own = np.where(self.truth, self.by_making, 1.0 - self.by_making)
        weights = np.clip(1.0 / np.maximum(own, 1e-3), 1.0, largest)
        for is_sick in (False, True):
            weights[self.truth == is_sick] /= weights[self.truth == is_sick].mean()
        return weights.astype(np.float32)


@dataclass(frozen=True)
class Split:
    """All images of a training, by side."""

    seen: Side
    held_out: Side


def split_images(data: Path, recipe: Recipe, spec: ModelSpec, cache: Path, elsewhere: Path | None = None) -> Split:
    """Read the images of a folder and hold out whole patients; duplicate images count as one patient's.

    Images of the other sources that the recipe names, in `elsewhere`, are trained on and never held out.
    Raises DataUnusable where a folder holds no such images.
    """
    listed = list_images(data)
    groups, by_patient = hold_out(listed, *load_pixels(listed, whole_images(spec, recipe), cache), recipe)
    shown = _shown(listed, spec, cache)
    images = [listed[i] for i in shown]
    groups, by_patient = [groups[i] for i in shown], by_patient[shown]
    source, _ = load_pixels(images, source_of(spec, recipe), cache)
    left_out, held_out = np.zeros_like(by_patient), by_patient
    if recipe.hold_out == "layout":
        whole = spec.model_copy(update={"framing": None, "input_size": SIDE})
        left_out, held_out = _by_layout(images, load_pixels(images, whole, cache)[0], groups, by_patient)
    seen_rows, held_rows = np.flatnonzero(~left_out & ~held_out), np.flatnonzero(held_out)
    others, other_pixels, other_repeats = _read_elsewhere(elsewhere, recipe, spec, cache)
    seen, held = [images[i] for i in seen_rows] + others, [images[i] for i in held_rows]
    pixels = np.concatenate([source[seen_rows], other_pixels]) if others else source[seen_rows]
    seen_groups = [groups[i] for i in seen_rows] + [image.patient for image in others]
    repeats = [
        recipe.normal_draws if images[i].image_class is ImageClass.NORMAL else 1 for i in seen_rows
    ] + other_repeats
    making, truth = _describe(pixels, cache), _is_sick(seen)
    across = across_groups(making, truth, seen_groups)
    beside = learn_making(making, truth, _describe(source[held_rows], cache))
    inputs, _ = load_pixels(held, spec, cache)
    return Split(
        seen=Side(seen, pixels, seen_groups, across, tuple(repeats)),
        held_out=Side(held, inputs, [groups[i] for i in held_rows], beside, (1,) * len(held)),
    )


def _describe(pixels: np.ndarray, cache: Path) -> np.ndarray:
    """Describe how images were made, and cache it: it takes as long as decoding them."""
    stored = cache / f"making-{hashlib.sha256(pixels.data).hexdigest()[:16]}.npy"
    if not stored.is_file():
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.save(stored, describe_making(pixels))
    return np.asarray(np.load(stored))


def _is_sick(images: Sequence[ImageFile]) -> np.ndarray:
    return np.array([image.image_class is not ImageClass.NORMAL for image in images])


def _read_elsewhere(
    folder: Path | None, recipe: Recipe, spec: ModelSpec, cache: Path
) -> tuple[list[ImageFile], np.ndarray, list[int]]:
    """Return the images of the other sources that the recipe names, their pixels and how often an epoch draws each."""
    if not recipe.elsewhere:
        return [], np.empty(0, np.uint8), []
    if folder is None or not folder.is_dir():
        raise DataUnusable(
            f"{recipe.name} also trains on {', '.join(recipe.elsewhere)}; there is no folder {folder}. "
            "Give it with --elsewhere."
        )
    listed = [image for name in recipe.elsewhere for image in read_index(folder / name)]
    listed = [listed[i] for i in _shown([image.file for image in listed], spec, cache)]
    images = [image.file for image in listed]
    return images, load_pixels(images, source_of(spec, recipe), cache)[0], draws(listed)


def source_of(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """Return the spec that images are prepared by before crops are taken from them."""
    framing = spec.framing and spec.framing.model_copy(update={"margin": recipe.source_margin})
    return spec.model_copy(update={"input_size": recipe.source_size, "framing": framing})


def whole_images(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """Return the unframed spec that duplicates are found with, so that the split does not depend on framing."""
    return spec.model_copy(
        update={"input_size": recipe.source_size if recipe.framing is None else WHOLE, "framing": None}
    )


def _shown(images: Sequence[ImageFile], spec: ModelSpec, cache: Path) -> np.ndarray:
    found = find_lungs(images, spec, cache)
    if len(found) < len(images):
        logger.info("%d of %d images show no lungs and are left out", len(images) - len(found), len(images))
    return found


def _by_layout(
    images: Sequence[ImageFile], thumbnails: np.ndarray, groups: Sequence[str], by_patient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are left out entirely and which are held out to measure the framing gap, bool (images,)."""
    truth = _is_sick(images)
    hard, measured = hardest_normals(layout_scores(thumbnails, truth, groups), truth)
    held_out = measured | (by_patient & truth)
    of_held = {group for group, is_held in zip(groups, held_out, strict=True) if is_held}
    beside = np.array([group in of_held for group in groups])
    return (hard | beside) & ~held_out, held_out


def hold_out(
    images: Sequence[ImageFile], pixels: np.ndarray, digests: Sequence[str], recipe: Recipe
) -> tuple[list[str], np.ndarray]:
    """Return each image's group and which images are held out, bool (n,); `pixels` and `digests` find duplicates."""
    groups = group_images(images, digests, near_duplicates(pixels))
    held_out = split_by_group([image.image_class for image in images], groups, recipe.held_out, recipe.seed)
    logger.info("%d images in %d groups, %d held out", len(images), len(set(groups)), held_out.sum())
    return groups, held_out
