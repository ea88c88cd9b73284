"""Where the lungs are on an image, and the window of it that a network sees: lungs of one place, height and width.

Images of a training set are framed by class: normal ones with neck and abdomen, squared from another shape. A network
that sees whole images learns that. So a small localiser finds the box around both lungs on a thumbnail, in two looks:
at the whole image, then at that box and what lies around it. It is three networks of two convolutions each a look,
in NumPy, because a web process and a worker must not wait for a second model. Its weights and version are pinned in the
spec of the model that was trained with it.
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
"""Of the localiser that new models are trained with; a file of FOLDER."""

LOOK: Final = 32
"""Pixels of the square that a look sees."""
SMALL: Final = 64
"""Pixels of the square that looks are taken from."""
AROUND: Final = 0.25
"""Part of the box that the second look sees on each side of it."""
USUAL: Final = (0.15, 0.15, 0.85, 0.85)
"""What the networks' answers are counted from."""
CONFIDENT: Final = 0.2
"""Confidence below which there are no lungs to frame."""
UNSURE: Final = 0.06
"""How far, as part of the box, the two looks or the networks may differ before confidence halves."""


_PIXELS: Final = np.arange(SMALL, dtype=np.float32)
_MIDDLES: Final = np.arange(LOOK, dtype=np.float32)[:, np.newaxis] + np.float32(0.5)


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
    """Return each network's left, top, right and bottom in parts of the square, and the mean log-odds of lungs."""
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
    """Return the weights, (LOOK, SMALL), that average pixels over LOOK places between two parts of a side.

    A triangle as wide as a place; beyond the image its edge goes on.
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
    """Load a localiser that comes with the product; `sha256` is what a spec says of its file, unless empty.

    Raises ModelUnavailable where there is no such version or its file is another one.
    """
    stored = weights_file.read_weights(FOLDER, version, sha256, "localiser")
    looks = [_Look(*(stored[f"{look}_{field}"] for field in _Look._fields)) for look in ("whole", "near")]
    return Localiser(*looks)


def window(image: Image.Image, framing: Framing) -> Box:
    """Find the lungs on a decoded grey image and return the part of it that a network with this framing sees.

    Raises ImageRejected where no upright lungs can be told with a confidence of CONFIDENT.
    """
    lungs = load(framing.version, framing.sha256).find(image)
    if lungs.confidence < CONFIDENT:
        raise ImageRejected(Rejection.NO_LUNGS, confidence=round(float(lungs.confidence), 2))
    return lungs.box.widened(framing.margin)


def fingerprint(version: str) -> str:
    """Return the sha256 of a localiser's file, for the spec of a new model."""
    return weights_file.fingerprint(FOLDER, version)


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
