"""The gate: check before a model reads an image that it is an upright chest radiograph of ordinary exposure.

A network predicts a hand, a photograph or a chest on its side as confidently as what it was trained on. So a small
network of three convolutions, in NumPy, first classifies the kind of picture from a thumbnail. The thumbnail's greys
are normalised, so exposure is judged by the greys themselves. A model with a gate has the weights' version, their
sha256 and the limits in its spec.
"""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from shared.errors import ImageRejected
from shared.images import weights_file
from shared.models.spec import Gate
from shared.refusals import Rejection

FOLDER: Final = Path(__file__).with_name("gates")
VERSION: Final = "kinds-2"
"""Version of the weights for new models; a file of FOLDER."""
SIDE: Final = 48
"""Side in pixels of the network's input; MedNIST's pictures have 64, and no source should be sharper than another."""
MOST_OTHER: Final = 0.5
MOST_CUT_OFF: Final = 0.97
"""Chosen by eye from a table of shares; docs/gate.md says how often each is right. Some real images do have cut lungs,
so that limit is the stricter."""
LEAST_BRIGHT: Final = 60
MOST_DARK: Final = 190
"""Grey levels of the brightest and the darkest tenth."""
KINDS: Final = (
    "good", "clockwise", "upside_down", "anticlockwise", "inverted", "cut_off", "other", "screen", "lateral"
)  # fmt: skip
"""In the order of the network's outputs; the turned ones say how the picture was rotated from upright.

kinds-1 has no lateral views."""


class Network(NamedTuple):
    """The weights of one version: three convolutions of stride 2 without padding, and two dense layers."""

    first: np.ndarray
    """(25, channels), of a convolution of 5x5."""
    first_bias: np.ndarray
    second: np.ndarray
    """(9 * channels, channels), of 3x3, as `third`."""
    second_bias: np.ndarray
    third: np.ndarray
    third_bias: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    last: np.ndarray
    """(hidden, kinds)."""
    last_bias: np.ndarray

    def tell(self, small: np.ndarray) -> np.ndarray:
        """Return the probability of each of KINDS, float32 (kinds,), of a thumbnail, uint8 (SIDE, SIDE)."""
        x = small.astype(np.float32) / 255
        x = ((x - x.mean()) / (x.std() + 0.02))[..., np.newaxis]
        x = _convolve(x, 5, self.first, self.first_bias)
        x = _convolve(x, 3, self.second, self.second_bias)
        x = _convolve(x, 3, self.third, self.third_bias).ravel()
        x = np.maximum(x @ self.hidden + self.hidden_bias, 0.0) @ self.last + self.last_bias
        x = np.exp(x - x.max())
        return np.asarray(x / x.sum(), np.float32)


def _convolve(x: np.ndarray, size: int, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolve (side, side, channels) with stride 2, followed by ReLU."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::2, ::2]
    side = windows.shape[0]
    flat = windows.transpose(0, 1, 3, 4, 2).reshape(side * side, -1)
    return np.asarray(np.maximum(flat @ weights + bias, 0.0).reshape(side, side, -1), np.float32)


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return the gate's input for a decoded grey image: uint8 (SIDE, SIDE)."""
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0), np.uint8)


class Seen(NamedTuple):
    """The gate's decision on an image."""

    refused: Rejection | None
    """None where a model may read it."""
    kind: str
    """The likeliest applicable one of KINDS, `too_dark` or `too_bright`."""
    certainty: float
    """Probability of `kind`, 0 to 1."""


@cache
def load(version: str, sha256: str = "") -> Network:
    """Load the weights of a version; `sha256` is their file's hash in a spec, unchecked if empty.

    Raises ModelUnavailable where there is no such version or its file differs.
    """
    stored = weights_file.read_weights(FOLDER, version, sha256, "gate")
    return Network(*(stored[name] for name in Network._fields))


def fingerprint(version: str) -> str:
    """Return the sha256 of a version's file, for the spec of a model."""
    return weights_file.fingerprint(FOLDER, version)


def default(ages: tuple[int, int]) -> Gate:
    """Return the gate of new models: current weights and limits, for patients of these ages in whole years."""
    return Gate(
        version=VERSION,
        sha256=fingerprint(VERSION),
        most_other=MOST_OTHER,
        most_cut_off=MOST_CUT_OFF,
        least_bright=LEAST_BRIGHT,
        most_dark=MOST_DARK,
        ages=ages,
    )


def look(image: Image.Image, gate: Gate, ignored: Collection[Rejection] = ()) -> Seen:
    """Classify a decoded grey image; kinds whose codes are in `ignored` count as good."""
    small = thumbnail(image)
    if (exposure := _exposure(small, gate)) is not None and exposure not in ignored:
        return Seen(exposure, exposure.value, 1.0)
    return judge(load(gate.version, gate.sha256).tell(small), gate, ignored)


def judge(told: np.ndarray, gate: Gate, ignored: Collection[Rejection] = ()) -> Seen:
    """Classify an image of ordinary exposure by a network's probabilities (`Network.tell`)."""
    shares = dict(zip(KINDS[: len(told)], told.tolist(), strict=True))
    other = {kind: share for kind, share in shares.items() if kind in _ANOTHER_PICTURE and CODES[kind] not in ignored}
    if (certainty := sum(other.values())) > gate.most_other:
        kind = max(other, key=other.__getitem__)
        return Seen(CODES[kind], kind, certainty)
    if shares["cut_off"] > gate.most_cut_off and Rejection.CUT_OFF not in ignored:
        return Seen(Rejection.CUT_OFF, "cut_off", shares["cut_off"])
    return Seen(None, "good", shares["good"])


def _exposure(small: np.ndarray, gate: Gate) -> Rejection | None:
    tenth = small.size // 10
    ordered = np.partition(small, (tenth, small.size - tenth), axis=None)
    dark, bright = ordered[tenth], ordered[small.size - tenth]
    if bright < gate.least_bright:
        return Rejection.TOO_DARK
    return Rejection.TOO_BRIGHT if dark > gate.most_dark else None


def refuse_unless_chest(image: Image.Image, gate: Gate, ignored: Collection[Rejection] = ()) -> None:
    """Raise ImageRejected unless a decoded grey image is an upright, whole chest radiograph of ordinary exposure."""
    seen = look(image, gate, ignored)
    if seen.refused is not None:
        raise _refusal_of(seen.kind)


def put_right(image: Image.Image, refusal: ImageRejected) -> Image.Image:
    """Turn a grey image refused as rotated upright, and invert one refused as inverted; return others unchanged."""
    if refusal.code is Rejection.INVERTED:
        return ImageOps.invert(image)
    back = _UPRIGHT.get(str(refusal.details.get("case"))) if refusal.code is Rejection.ROTATED else None
    return image if back is None else image.transpose(back)


CODES: Final = {
    "clockwise": Rejection.ROTATED,
    "upside_down": Rejection.ROTATED,
    "anticlockwise": Rejection.ROTATED,
    "inverted": Rejection.INVERTED,
    "cut_off": Rejection.CUT_OFF,
    "other": Rejection.NOT_CHEST,
    "screen": Rejection.NOT_CHEST,
    "lateral": Rejection.NOT_FRONTAL,
}
"""The rejection code of each kind but `good`."""
_UPRIGHT: Final = {
    "clockwise": Image.Transpose.ROTATE_90,
    "anticlockwise": Image.Transpose.ROTATE_270,
    "upside_down": Image.Transpose.ROTATE_180,
}
"""Pillow rotates anticlockwise."""
_ANOTHER_PICTURE: Final = tuple(kind for kind in CODES if kind != "cut_off")


def _refusal_of(kind: str) -> ImageRejected:
    return {
        "clockwise": ImageRejected(Rejection.ROTATED, case="clockwise"),
        "anticlockwise": ImageRejected(Rejection.ROTATED, case="anticlockwise"),
        "upside_down": ImageRejected(Rejection.ROTATED, case="upside_down"),
        "inverted": ImageRejected(Rejection.INVERTED),
        "cut_off": ImageRejected(Rejection.CUT_OFF),
        "other": ImageRejected(Rejection.NOT_CHEST, case="other"),
        "screen": ImageRejected(Rejection.NOT_CHEST, case="screen"),
        "lateral": ImageRejected(Rejection.NOT_FRONTAL, case="seen"),
        "too_dark": ImageRejected(Rejection.TOO_DARK),
        "too_bright": ImageRejected(Rejection.TOO_BRIGHT),
    }[kind]
