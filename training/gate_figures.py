"""Measure the gate on pictures that it was not trained on: held-back patients, sources and pictures."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from shared.images import gate
from shared.images.preprocess import decode
from shared.models.spec import Gate
from shared.refusals import Rejection
from training.gate_pictures import (
    BASE,
    CHILDREN,
    chest_files,
    cut,
    lateral,
    lungs_of,
    of_a_screen,
    open_square,
    other_files,
    screenshot,
)
from training.projections import FRONTAL, LATERAL, radiographs

AGES: Final = (1, 5)
"""Patient ages in whole years; not used by the gate for images."""
CHANGED: Final = 300
"""Number of held-back images of the training set for each change."""
SIDE: Final = 224
"""The least side in pixels of decoded images."""


@dataclass
class Row:
    """The gate's decisions on the pictures of one kind."""

    what: str
    is_to_pass: bool
    codes: Counter[str] = field(default_factory=Counter)
    """Numbers refused by code; those accepted have an empty code."""
    expected: Rejection | None = None

    @property
    def refused(self) -> int:
        """Count the pictures that were refused."""
        return self.codes.total() - self.codes[""]


def measure(data: Path, limits: Gate | None = None) -> list[Row]:
    """Run the gate on every held-back picture, and on changed copies of real images."""
    limits = limits or gate.default(AGES)

    def row(what: str, images: Iterable[Image.Image], expected: Rejection | None = None) -> Row:
        codes = Counter(str(gate.look(image, limits).refused or "") for image in images)
        return Row(what, expected is None, codes, expected)

    chests = chest_files(data, held_back=True)
    children = _spread(chests[CHILDREN], CHANGED)
    rows = [row(name, _decoded(paths)) for name, paths in chests.items()]
    rows.append(row("originals of the training set", _decoded(sorted((data / "originals").rglob("*.jp*g")))))
    for name, change in BENIGN.items():
        rows.append(row(f"children, {name}", (change(image) for image in _decoded(children))))
    for name, paths in other_files(data, held_back=True).items():
        rows.append(row(name, _decoded(paths), Rejection.NOT_CHEST))
    elsewhere = [path for name, paths in chests.items() if name != CHILDREN for path in paths]
    for name, (change, code) in CHANGES.items():
        rows.append(row(f"children, {name}", (change(image) for image in _decoded(children)), code))
        rows.append(row(f"elsewhere, {name}", (change(image) for image in _decoded(elsewhere)), code))
    rows.append(row("children, cut off", _cut(children), Rejection.CUT_OFF))
    rows.append(row("children, screenshots", _shots(children), Rejection.NOT_CHEST))
    rows.append(row("children, photographs of a screen", _screens(children, data), Rejection.NOT_CHEST))
    return rows


def measure_views(network: gate.Network, chest: Path) -> list[Row]:
    """Run a network on the views of a patient whose CT it was not trained on."""
    limits = gate.default(AGES)

    def row(what: str, images: Iterable[np.ndarray], expected: Rejection | None = None) -> Row:
        small = (gate.thumbnail(Image.fromarray(np.ascontiguousarray(image))) for image in images)
        seen = (gate.judge(network.tell(thumbnail), limits) for thumbnail in small)
        return Row(what, expected is None, Counter(str(each.refused or "") for each in seen), expected)

    sides, rng = radiographs(chest, LATERAL, BASE), np.random.default_rng(10)
    framed = (lateral(side, rng) for side in sides for _ in range(4))
    return [
        row("frontal views", radiographs(chest, FRONTAL, BASE)),
        row("lateral views", sides, Rejection.NOT_FRONTAL),
        row("lateral views, as other rooms frame them", framed, Rejection.NOT_FRONTAL),
    ]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Write the figures as a Markdown table."""
    yield "| held-back pictures | count | refused | share | under which codes |\n|---|---|---|---|---|"
    for row in rows:
        count = row.codes.total()
        codes = ", ".join(f"{code} {times}" for code, times in row.codes.most_common() if code)
        yield f"| {row.what} | {count} | {row.refused} | {row.refused / count:.1%} | {codes or '-'} |"


def time_taken() -> str:
    """Say how long the gate takes."""
    return f"One image of {SIDE} pixels takes {seconds_each() * 1000:.3f} ms."


def seconds_each() -> float:
    """Return how long the gate takes for an image, in seconds: the median of 500."""
    image, limits, taken = Image.effect_noise((SIDE, SIDE), 50), gate.default(AGES), []
    for _ in range(500):
        began = time.perf_counter()
        gate.look(image, limits)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    return [paths[i * len(paths) // count] for i in range(min(count, len(paths)))]


def _decoded(paths: Iterable[Path]) -> Iterator[Image.Image]:
    return (decode(path.read_bytes(), at_least=SIDE) for path in paths)


def _cut(paths: Sequence[Path]) -> Iterator[Image.Image]:
    rng = np.random.default_rng(7)
    for path in paths:
        square = open_square(path)
        yield Image.fromarray(np.ascontiguousarray(cut(square, lungs_of(square), rng)))


def _shots(paths: Sequence[Path]) -> Iterator[Image.Image]:
    rng = np.random.default_rng(8)
    return (Image.fromarray(screenshot(open_square(path), rng)) for path in paths)


def _screens(paths: Sequence[Path], data: Path) -> Iterator[Image.Image]:
    rng = np.random.default_rng(9)
    rooms = [open_square(path) for path in other_files(data, held_back=True)["photographs"]]
    return (Image.fromarray(of_a_screen(open_square(path), rooms[i % len(rooms)], rng)) for i, path in enumerate(paths))


def _tone(gamma: float, scale: float = 1.0, offset: float = 0.0) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.point([round(offset + scale * 255 * (level / 255) ** gamma) for level in range(256)])


def _turned(how: Image.Transpose) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transpose(how)


def _bordered(fill: int) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageOps.expand(image, image.width // 10, fill)


BENIGN: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "mirrored": _turned(Image.Transpose.FLIP_LEFT_RIGHT),
    "black border": _bordered(0),
    "white border": _bordered(255),
    "darker (gamma 1.7)": _tone(1.7),
    "lighter (gamma 0.6)": _tone(0.6),
    "turned by 7 degrees": lambda image: image.rotate(7, Image.Resampling.BILINEAR),
}
"""Changes after which an image must still be accepted."""
CHANGES: Final[dict[str, tuple[Callable[[Image.Image], Image.Image], Rejection]]] = {
    "a quarter clockwise": (_turned(Image.Transpose.ROTATE_270), Rejection.ROTATED),
    "upside down": (_turned(Image.Transpose.ROTATE_180), Rejection.ROTATED),
    "a quarter anticlockwise": (_turned(Image.Transpose.ROTATE_90), Rejection.ROTATED),
    "inverted": (ImageOps.invert, Rejection.INVERTED),
    "too dark (a sixth of the light)": (_tone(1.0, 1 / 6), Rejection.TOO_DARK),
    "too bright (a sixth of the range)": (_tone(1.0, 1 / 6, 212), Rejection.TOO_BRIGHT),
}
