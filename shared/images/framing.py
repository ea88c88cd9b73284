"""Find the lungs on an image, and the window that a network sees: lungs always at the same place and size.

In the training set framing depends on the class: normal images show neck and abdomen and are squeezed from another
aspect ratio. A network on whole images learns that shortcut. So a small localiser finds the box around both lungs on a
thumbnail, in two looks: at the whole image, then at that box and its surroundings. Each look is three networks of two
convolutions, in NumPy, because neither web nor workers should wait for a second model. Its version and weights are
pinned in the spec of the model trained with it.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from shared.errors import ImageRejected
from shared.images import weights_file
from shared.models.spec import Framing
from shared.refusals import Rejection

FOLDER: Final = Path(__file__).with_name("localisers")
VERSION: Final = "lungs-1"
"""Version of the localiser for new models; a file of FOLDER."""

LOOK: Final = 32
"""Side in pixels of the square that a look sees."""
SMALL: Final = 64
"""Side in pixels of the square that looks are cropped from."""
AROUND: Final = 0.25
"""Margin of the second look on each side of the box, as a fraction of it."""
USUAL: Final = (0.15, 0.15, 0.85, 0.85)
"""The box that the networks' outputs are relative to."""
CONFIDENT: Final = 0.2
"""Confidence below which there are no lungs to frame."""
UNSURE: Final = 0.06
"""Difference of the two looks or of the networks, as a fraction of the box, that halves confidence."""


_PIXELS: Final = np.arange(SMALL, dtype=np.float32)
_MIDDLES: Final = np.arange(LOOK, dtype=np.float32)[:, np.newaxis] + np.float32(0.5)


class Box(NamedTuple):
    """A rectangle in fractions of an image's width and height; it may reach a little beyond the image."""

    left: float
    top: float
    right: float
    bottom: float

    def widened(self, margin: float) -> "Box":
        """Return the box enlarged on each side by `margin` of its width and height."""
        x, y = margin * (self.right - self.left), margin * (self.bottom - self.top)
        return Box(self.left - x, self.top - y, self.right + x, self.bottom + y)


WHOLE: Final = Box(0.0, 0.0, 1.0, 1.0)


class Lungs(NamedTuple):
    """The box around both lungs of a frontal chest image."""

    box: Box
    confidence: float
    """Confidence, 0 to 1, that there are upright lungs and that the box is around them."""


class _Look(NamedTuple):
    """The weights of one look's networks, side by side."""

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
        halves = small[::2] + small[1::2]
        rough, seen = _edges(self.whole, (halves[:, ::2] + halves[:, 1::2]) / 4)
        first = _mean(rough)
        around = first.widened(AROUND)
        near, still_seen = _edges(self.near, _sample(around.top, around.bottom) @ small @ _sample(*around[::2]).T)
        width, height = around.right - around.left, around.bottom - around.top
        found = [
            Box(
                around.left + left * width,
                around.top + top * height,
                around.left + right * width,
                around.top + bottom * height,
            )
            for left, top, right, bottom in near
        ]
        box = _mean(found)
        own = (max(box.right - box.left, 1e-3), max(box.bottom - box.top, 1e-3)) * 2
        between = max(_spread(edges) / side for edges, side in zip(zip(*found, strict=True), own, strict=True))
        moved = max(abs(one - other) / side for one, other, side in zip(first, box, own, strict=True))
        apart = max(between, moved / 2)
        return Lungs(box, min(_share(seen), _share(still_seen)) * 0.5 ** (apart / UNSURE))


def _mean(boxes: Sequence[Sequence[float]]) -> Box:
    return Box(*(sum(edges) / len(boxes) for edges in zip(*boxes, strict=True)))


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation; of three numbers NumPy's takes ten times as long."""
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / len(values))


def _edges(look: _Look, square: np.ndarray) -> tuple[list[list[float]], float]:
    """Return each network's left, top, right and bottom as fractions of the square, and the mean log-odds of lungs."""
    count = len(look.second)
    x = square - square.mean()
    x /= math.sqrt(np.vdot(x, x) / x.size) + 0.02
    patches = np.lib.stride_tricks.sliding_window_view(x, (5, 5))[::2, ::2].reshape(-1, 25)
    x = _rectified(patches @ look.first, look.first_bias).reshape(14, 14, count, -1)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]
    x = windows.transpose(2, 0, 1, 3, 4, 5).reshape(count, 36, -1)
    x = _rectified(x @ look.second, look.second_bias).reshape(count, 1, -1)
    x = (_rectified(x @ look.hidden, look.hidden_bias) @ look.last + look.last_bias)[:, 0]
    answers = x.tolist()
    edges = [[answer + usual for answer, usual in zip(own, USUAL, strict=False)] for own in answers]
    return edges, sum(own[4] for own in answers) / count


def _rectified(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    x += bias
    np.maximum(x, 0.0, out=x)
    return x


def _sample(start: float, end: float) -> np.ndarray:
    """Return weights, (LOOK, SMALL), that resample the part of a side from `start` to `end` to LOOK places.

    The filter is a triangle as wide as a place; beyond the image its edge is repeated.
    """
    step = max((end - start) * SMALL / LOOK, 1e-3)
    places = (_MIDDLES * np.float32(step) + np.float32(start * SMALL - 0.5)).clip(0, SMALL - 1)
    weights: np.ndarray = np.abs(_PIXELS - places)
    weights *= np.float32(-1.0 / max(1.0, step))
    weights += 1.0
    np.maximum(weights, 0.0, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _share(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, log_odds))))


@cache
def load(version: str, sha256: str = "") -> Localiser:
    """Load a localiser that ships with the product; `sha256` is its file's hash in a spec, unchecked if empty.

    Raises ModelUnavailable where there is no such version or its file differs.
    """
    stored = weights_file.read_weights(FOLDER, version, sha256, "localiser")
    looks = [_Look(*(stored[f"{look}_{field}"] for field in _Look._fields)) for look in ("whole", "near")]
    return Localiser(*looks)


def window(image: Image.Image, framing: Framing) -> Box:
    """Find the lungs on a decoded grey image and return the part of it that a network with this framing sees.

    Raises ImageRejected where no upright lungs are found with a confidence of CONFIDENT.
    """
    lungs = load(framing.version, framing.sha256).find(image)
    if lungs.confidence < CONFIDENT:
        raise ImageRejected(Rejection.NO_LUNGS, confidence=round(float(lungs.confidence), 2))
    return lungs.box.widened(framing.margin)


def fingerprint(version: str) -> str:
    """Return the sha256 of a localiser's file, for the spec of a new model."""
    return weights_file.fingerprint(FOLDER, version)


def cut(image: Image.Image, window: Box, size: int) -> np.ndarray:
    """Resize a window of a grey image to uint8 (size, size); beyond the image its edge is repeated."""
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
    """Clip a window to the image on whole target pixels; return its edges in the image and in the target."""
    start, end = start * side, end * side
    step = (end - start) / size
    first = max(0, int(np.ceil(-start / step - 1e-6)))
    last = min(size, int(np.floor((side - start) / step + 1e-6)))
    return _Edge(max(0.0, start + first * step), first), _Edge(min(float(side), start + last * step), last)
