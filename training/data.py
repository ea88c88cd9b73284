"""Read the training images: list files, load pixels, find near duplicates, and split by patient."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.dataset import ImageFile, name_image, refuse_test_split
from evaluation.errors import DataUnusable
from shared.errors import ImageRejected
from shared.images.preprocess import prepare
from shared.models.spec import ImageClass, Label, ModelSpec

SUFFIXES: Final = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
CLASSES: Final = (ImageClass.NORMAL, ImageClass.BACTERIAL, ImageClass.VIRAL)

# Two images whose 24x24 thumbnails correlate this much count as the same exposure. In the training set 28 pairs do, all
# with identical bytes, and no other pair reaches even 0.98: images of one child differ by more.
NEAR_DUPLICATE: Final = 0.995
THUMBNAIL: Final = 24


def list_images(folder: Path) -> list[ImageFile]:
    """List the images of `folder/NORMAL` and `folder/PNEUMONIA`, sorted by name.

    Raises DataUnusable where either has no image or the folder is a test split.
    """
    refuse_test_split(folder)
    images: list[ImageFile] = []
    for label in Label:
        paths = [path for path in (folder / label).glob("*") if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise DataUnusable(f"No images in {folder / label}. Give the folder that holds NORMAL and PNEUMONIA.")
        images.extend(name_image(path) for path in sorted(paths))
    return images


def load_pixels(
    images: Sequence[ImageFile], spec: ModelSpec, cache: Path | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return the network's input, uint8 (images, size, size, 1), and the sha256 of every file.

    `cache` is a folder with one .npy per distinct content, so that a second run need not decode again.
    Raises ImageRejected where an image cannot be decoded: the training set is expected to be intact.
    """
    contents = [image.path.read_bytes() for image in images]
    digests = [hashlib.sha256(data).hexdigest() for data in contents]
    stored = _place(cache, f"pixels-{spec.input_size}", spec, digests)
    if stored and stored.is_file():
        return np.load(stored), digests
    pixels = np.stack([prepare(data, spec) for data in contents])
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.save(stored, pixels)
    return pixels, digests


def find_lungs(images: Sequence[ImageFile], spec: ModelSpec, cache: Path | None = None) -> np.ndarray:
    """Return the indices, int64 (n,), of the images on which a model finds lungs to frame, or all if it frames none.

    `cache` is as for `load_pixels`.
    """
    if spec.framing is None:
        return np.arange(len(images))
    contents = [image.path.read_bytes() for image in images]
    stored = _place(cache, "lungs", spec, [hashlib.sha256(data).hexdigest() for data in contents])
    if stored and stored.is_file():
        return np.asarray(np.load(stored))
    found = np.flatnonzero([_can_prepare(data, spec) for data in contents])
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.save(stored, found)
    return found


def _can_prepare(data: bytes, spec: ModelSpec) -> bool:
    try:
        prepare(data, spec)
    except ImageRejected:
        return False
    return True


def _place(cache: Path | None, what: str, spec: ModelSpec, digests: Sequence[str]) -> Path | None:
    """Return the cache path for data derived from these contents under this spec."""
    key = hashlib.sha256("\n".join([str(spec.input_size), spec.resize, *_framed(spec), *digests]).encode()).hexdigest()
    return cache / f"{what}-{key[:16]}.npy" if cache else None


def _framed(spec: ModelSpec) -> list[str]:
    return [] if spec.framing is None else [spec.framing.model_dump_json()]


def class_indices(images: Iterable[ImageFile], classes: Sequence[ImageClass] = CLASSES) -> np.ndarray:
    """Return each image's class as its index in `classes`, int64 (images,).

    A cause that `classes` does not distinguish counts as `pneumonia`.
    """
    names = (image.image_class for image in images)
    return np.array([classes.index(name if name in classes else ImageClass.PNEUMONIA) for name in names])


def near_duplicates(pixels: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of images, uint8 (n, size, size, 1), whose thumbnails correlate at NEAR_DUPLICATE or more."""
    block = pixels.shape[1] // THUMBNAIL
    side = block * THUMBNAIL
    thumbs = pixels[:, :side, :side, 0].reshape(-1, THUMBNAIL, block, THUMBNAIL, block).mean(axis=(2, 4))
    vectors = thumbs.reshape(len(pixels), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6
    pairs: list[tuple[int, int]] = []
    for row, vector in enumerate(vectors[:-1]):
        alike = np.flatnonzero(vectors[row + 1 :] @ vector >= NEAR_DUPLICATE)
        pairs.extend((row, row + 1 + int(column)) for column in alike)
    return pairs


def split_by_group(classes: Sequence[str], groups: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Hold out whole groups, about `share` of each class; return bool (images,), True where held out.

    Groups are taken in an order fixed by `seed`, by their majority class, until that class has its share. A group
    larger than what is still missing is skipped, so that one large group cannot fill a class.
    """
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for name, group in zip(classes, groups, strict=True):
        members[group][name] += 1
    wanted = {name: share * count for name, count in Counter(classes).items()}
    held: set[str] = set()
    for group in np.random.default_rng(seed).permutation(sorted(members)):
        counts = members[str(group)]
        (main, _), *_ = counts.most_common(1)
        if wanted[main] >= 1 and all(count <= wanted[name] + 2 for name, count in counts.items()):
            held.add(str(group))
            for name, count in counts.items():
                wanted[name] -= count
    return np.array([group in held for group in groups])
