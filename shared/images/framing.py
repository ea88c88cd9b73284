"""Where the lungs are on an image, and the window of it that a network sees: lungs of one place, height and width.

Images of a training set are framed by class: normal ones with neck and abdomen, squared from another shape. A network
that sees whole images learns that. So a small localiser finds the box around both lungs on a thumbnail, in two looks:
at the whole image, then at that box and what lies around it. It is three networks of two convolutions each a look,
in NumPy, because a web process and a worker must not wait for a second model. Its weights and version are pinned in the
spec of the model that was trained with it.
"""

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from shared.errors import FilmRejected, ModelUnavailable
from shared.models.spec import Framing
from shared.refusals import Rejection

FOLDER: Final = Path(__file__).with_name("localisers")
VERSION: Final = "lungs-1"
"""Of the localiser that new models are trained with; a file of FOLDER."""

LOOK: Final = 32
"""Pixels of the square that a look sees."""
SMALL: Final = 64
"""Pixels of the square that looks are taken from."""
AROUND: Final = 0.25
"""Part of the box that the second look sees on each side of it."""
USUAL: Final = np.array((0.15, 0.15, 0.85, 0.85), np.float32)
"""What the networks' answers are counted from."""
CONFIDENT: Final = 0.2
"""Confidence below which there are no lungs to frame."""
UNSURE: Final = 0.06
"""How far, as part of the box, the two looks or the networks may differ before confidence halves."""


class Box(NamedTuple):
    """A rectangle in parts of an image's width and height; it may reach a little beyond the image."""

    left: float
    top: float
    right: float
    bottom: float

    def widened(self, margin: float) -> "Box":
        """Return the box with `margin` of its width and height added on each side."""
        x, y = margin * (self.right - self.left), margin * (self.bottom - self.top)
        return Box(self.left - x, self.top - y, self.right + x, self.bottom + y)


WHOLE: Final = Box(0.0, 0.0, 1.0, 1.0)


class Lungs(NamedTuple):
    """The box around both lungs of a frontal chest image."""

    box: Box
    confidence: float
    """0 to 1, that upright lungs are there and that the box is around them."""


class _Look(NamedTuple):
    """The weights of some networks of one look, side by side."""

    first: np.ndarray
    """(25, networks * channels), of a convolution of 5x5."""
    first_bias: np.ndarray
    second: np.ndarray
    """(networks, channels * 9, channels), of a convolution of 3x3."""
    second_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    last: np.ndarray
    """(networks, hidden, 5): four edges, and the log-odds that lungs are there."""
    last_bias: np.ndarray


class Localiser(NamedTuple):
    """Both looks of one version."""

    whole: _Look
    near: _Look

    def find(self, image: Image.Image) -> Lungs:
        """Find the lungs on a decoded grey image of any size."""
        small = np.asarray(image.resize((SMALL, SMALL), Image.Resampling.BILINEAR, reducing_gap=2.0), np.float32) / 255
        rough, seen = _edges(self.whole, small.reshape(LOOK, 2, LOOK, 2).mean(axis=(1, 3)))
        around = Box(*rough.mean(axis=0).tolist()).widened(AROUND)
        near, still_seen = _edges(self.near, _sample(around.top, around.bottom) @ small @ _sample(*around[::2]).T)
        size = np.array((around.right - around.left, around.bottom - around.top) * 2, np.float32)
        found = np.array(around[:2] * 2, np.float32) + near * size
        box = Box(*found.mean(axis=0).tolist())
        own = np.maximum(np.array((box.right - box.left, box.bottom - box.top) * 2), 1e-3)
        apart = max(float((found.std(axis=0) / own).max()), float((np.abs(rough.mean(axis=0) - box) / own).max()) / 2)
        return Lungs(box, min(_share(seen), _share(still_seen)) * 0.5 ** (apart / UNSURE))


def _edges(look: _Look, square: np.ndarray) -> tuple[np.ndarray, float]:
    """Return each network's edges, float32 (networks, 4), in parts of the square, and the mean log-odds of lungs."""
    count = len(look.second)
    x = (square - square.mean()) / (square.std() + 0.02)
    patches = np.lib.stride_tricks.sliding_window_view(x, (5, 5))[::2, ::2].reshape(-1, 25)
    x = np.maximum(patches @ look.first + look.first_bias, 0.0).reshape(14, 14, count, -1)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]
    x = windows.transpose(2, 0, 1, 3, 4, 5).reshape(count, 36, -1)
    x = np.maximum(x @ look.second + look.second_bias, 0.0).reshape(count, 1, -1)
    x = (np.maximum(x @ look.hidden + look.hidden_bias, 0.0) @ look.last + look.last_bias)[:, 0]
    return x[:, :4] + USUAL, float(x[:, 4].mean())


def _sample(start: float, end: float) -> np.ndarray:
    """Return the weights, (LOOK, SMALL), that average pixels over LOOK places between two parts of a side.

    A triangle as wide as a place; beyond the image its edge goes on.
    """
    step = max((end - start) * SMALL / LOOK, 1e-3)
    places = (start * SMALL - 0.5 + step * (np.arange(LOOK) + 0.5)).clip(0, SMALL - 1)
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(SMALL) - places[:, np.newaxis]) / max(1.0, step))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _share(log_odds: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


@cache
def load(version: str, sha256: str = "") -> Localiser:
    """Load a localiser that comes with the product; `sha256` is what a spec says of its file, unless empty.

    Raises ModelUnavailable where there is no such version or its file is another one.
    """
    try:
        data = (FOLDER / f"{version}.npz").read_bytes()
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.npz")))
        raise ModelUnavailable(
            f"There is no localiser '{version}' here. There is: {known or 'none'}. Install the release that has it."
        ) from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise ModelUnavailable(
            f"The localiser '{version}' is not the one that the model was trained with. Restore {version}.npz."
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        looks = [
            _Look(*(stored[f"{look}_{field}"].astype(np.float32) for field in _Look._fields))
            for look in ("whole", "near")
        ]
    return Localiser(*looks)


def window(image: Image.Image, framing: Framing) -> Box:
    """Find the lungs on a decoded grey image and return the part of it that a network with this framing sees.

    Raises FilmRejected where no upright lungs can be told with a confidence of CONFIDENT.
    """
    lungs = load(framing.version, framing.sha256).find(image)
    if lungs.confidence < CONFIDENT:
        raise FilmRejected(Rejection.NO_LUNGS, confidence=round(float(lungs.confidence), 2))
    return lungs.box.widened(framing.margin)


def fingerprint(version: str) -> str:
    """Return the sha256 of a localiser's file, for the spec of a new model."""
    return hashlib.sha256((FOLDER / f"{version}.npz").read_bytes()).hexdigest()


def cut(image: Image.Image, window: Box, size: int) -> np.ndarray:
    """Resize a window of a grey image to uint8 (size, size); where it reaches beyond the image, the edge goes on."""
    (left, right), (top, bottom) = (
        _inside(*window[::2], image.width, size),
        _inside(*window[1::2], image.height, size),
    )
    width, height = right.target - left.target, bottom.target - top.target
    part = image.resize(
        (width, height),
        Image.Resampling.BILINEAR,
        box=(left.source, top.source, right.source, bottom.source),
        reducing_gap=2.0,
    )
    pixels = np.asarray(part, np.uint8)
    if (width, height) == (size, size):
        return pixels
    return np.pad(pixels, ((top.target, size - bottom.target), (left.target, size - right.target)), mode="edge")


class _Edge(NamedTuple):
    source: float
    """Pixels of the image."""
    target: int
    """Pixels of the resized window."""


def _inside(start: float, end: float, side: int, size: int) -> tuple[_Edge, _Edge]:
    """Return where a window that may reach beyond an image begins and ends to show it, on whole target pixels."""
    start, end = start * side, end * side
    step = (end - start) / size
    first = max(0, int(np.ceil(-start / step - 1e-6)))
    last = min(size, int(np.floor((side - start) / step + 1e-6)))
    return _Edge(max(0.0, start + first * step), first), _Edge(min(float(side), start + last * step), last)
