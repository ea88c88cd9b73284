"""Pictures to train and test the gate with: real images, altered ones, and pictures of other things.

All are kept at BASE pixels and redrawn at the gate's own size for every epoch. Pictures of every source pass the same
resampling, blur, noise and tone, so that the gate learns none of these.
"""

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage  # type: ignore[import-untyped]  # SciPy ships no types
from sklearn.datasets import load_sample_images

from evaluation.dataset import name_image
from shared.images import framing
from shared.images.gate import SIDE
from shared.images.preprocess import decode
from training import projections

BASE: Final = 96
HELD_BACK: Final = 0.2
"""Fraction of the training set's patients that the gate is measured on."""
HELD_BACK_OTHERS: Final = 0.35
"""The same fraction of the pictures of other body parts."""
USUAL: Final = framing.Box(0.12, 0.12, 0.88, 0.88)
"""The lungs' usual box, where the localiser is not sure."""
CHILDREN: Final = "children of the training set"
PICTURES: Final = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Pool:
    """Pictures of one source: uint8 (pictures, BASE, BASE), and the box of each one's lungs if it has any."""

    name: str
    pixels: np.ndarray
    lungs: tuple[framing.Box, ...] = ()


def open_square(path: Path) -> np.ndarray:
    """Read a picture as grey of BASE x BASE pixels, ignoring its aspect ratio, as a network sees it."""
    grey = decode(path.read_bytes(), at_least=2 * BASE)
    return np.asarray(grey.resize((BASE, BASE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def is_held_back(patient: str, part: float = HELD_BACK) -> bool:
    """Tell by a patient's name alone whether the patient is held back to measure the gate."""
    return zlib.crc32(f"gate {patient}".encode()) / 2**32 < part


def chest_files(data: Path, *, held_back: bool) -> dict[str, list[Path]]:
    """List real frontal chest images by source: those to train on, or those held back."""
    train = [
        path for path in _files(data / "chest_xray" / "train") if is_held_back(name_image(path).patient) == held_back
    ]
    part = "shifted_validation" if held_back else "train"
    places = sorted((data / "elsewhere").glob(f"*/{part}"))
    found = {CHILDREN: train} | {f"{place.parent.name}, {part}": _indexed(place) for place in places}
    return found | ({"NIH, adults": _files(data / "adults")} if held_back else {})


def other_files(data: Path, *, held_back: bool) -> dict[str, list[Path]]:
    """List hands and CT and MR slices by the body part that the index of MedNIST names.

    Those held back include hands of another source and photographs, none of which is ever trained on.
    """
    folder = data / "elsewhere" / "mednist"
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if is_held_back(row["patient"], HELD_BACK_OTHERS) == held_back]
    found = {
        name: [folder / row["file"] for row in rows if row["view"] == name] for name in {row["view"] for row in rows}
    }
    if held_back:
        files = _files(data / "not_chest")
        found["hands of another source"] = [path for path in files if path.name.startswith("hand")]
        found["photographs"] = [path for path in files if path.name.startswith("photo")]
    return dict(sorted(found.items()))


def read_pools(files: dict[str, list[Path]], *, with_lungs: bool = False) -> list[Pool]:
    """Read pictures at BASE pixels, `with_lungs` also the boxes of their lungs."""
    return [_pool(name, paths, with_lungs=with_lungs) for name, paths in files.items()]


def photographs() -> np.ndarray:
    """Return parts of the photographs that come with scikit-learn and matplotlib, uint8 (pictures, BASE, BASE)."""
    whole = [Image.fromarray(array).convert("L") for array in load_sample_images().images]
    for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png"):
        with Image.open(str(get_sample_data(name, asfileobj=False))) as image:
            whole.append(image.convert("L"))
    rng = np.random.default_rng(1)
    return np.stack([_part(whole[i % len(whole)], rng) for i in range(600)])


class Views(NamedTuple):
    """Views drawn from CTs (`training.projections`), a pool for each patient."""

    frontal: list[Pool]
    lateral: list[Pool]
    abdomen: list[Pool]
    """Views from any side, of patients whose CT does not include the chest."""


def read_views(volumes: Path, *, without: str = "") -> Views:
    """Draw views of the CTs in the folders `chest` and `abdomen`, except one patient's chest.

    Each entry is a folder of DICOM slices or a file of a volume, named after its patient.
    """
    chest = [path for path in _volumes(volumes / "chest") if patient_of(path) != without]
    around = (*projections.FRONTAL, *projections.LATERAL)
    return Views(
        [_drawn(path, projections.FRONTAL, with_lungs=True) for path in chest],
        [_drawn(path, projections.LATERAL) for path in chest],
        [_drawn(path, around) for path in _volumes(volumes / "abdomen")],
    )


def _volumes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def patient_of(volume: Path) -> str:
    """Return a CT's name without its file format suffix."""
    return volume.name.partition(".")[0]


def _drawn(path: Path, angles: Sequence[int], *, with_lungs: bool = False) -> Pool:
    pixels = projections.radiographs(path, angles, BASE)
    return Pool(patient_of(path), pixels, tuple(lungs_of(square) for square in pixels) if with_lungs else ())


def _part(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    share = rng.uniform(0.25, 1.0, 2)
    left, top = rng.uniform(0, 1 - share) * image.size
    right, bottom = np.array((left, top)) + share * image.size
    part = image.resize((BASE, BASE), Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0)
    return np.asarray(part)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def _indexed(folder: Path) -> list[Path]:
    with (folder / "index.csv").open(newline="") as file:
        return [folder / row["file"] for row in csv.DictReader(file)]


def _pool(name: str, files: Sequence[Path], *, with_lungs: bool = False) -> Pool:
    pixels = np.stack([open_square(path) for path in files])
    return Pool(name, pixels, tuple(lungs_of(square) for square in pixels) if with_lungs else ())


def lungs_of(square: np.ndarray) -> framing.Box:
    """Find the lungs of a chest image; fall back to where they usually are."""
    found = framing.load(framing.VERSION).find(Image.fromarray(square))
    return found.box if found.confidence > framing.CONFIDENT else USUAL


# ---------------------------------------------------------------- altered images


def view(square: np.ndarray, box: framing.Box, rng: np.random.Generator, *, angle: float = 0.0) -> np.ndarray:
    """Draw a crop of a picture, which may reach beyond it, turned by `angle` degrees: uint8 (BASE, BASE)."""
    around = BASE // 2
    how = rng.integers(4)
    if how == 0:
        wide = np.pad(square, around, mode="edge")
    else:
        wide = np.pad(square, around, constant_values=(0, 0, 0, rng.integers(200, 256))[how])
    image, turn = Image.fromarray(wide), np.deg2rad(angle)
    (x, y), (w, h) = (
        ((box.left + box.right) / 2, (box.top + box.bottom) / 2),
        (box.right - box.left, box.bottom - box.top),
    )
    a, b, d, e = w * np.cos(turn), -w * np.sin(turn), h * np.sin(turn), h * np.cos(turn)
    middle = np.array((x, y)) * BASE + around - np.array(((a + b), (d + e))) * BASE / 2
    matrix = (a, b, middle[0], d, e, middle[1])
    return np.asarray(image.transform((BASE, BASE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def ordinary(square: np.ndarray, lungs: framing.Box, rng: np.random.Generator) -> np.ndarray:
    """Draw a chest image as other X-ray rooms would have framed it: both lungs whole, or nearly so."""
    reach = rng.uniform(-0.22, 0.1, 4) if rng.random() < 0.6 else rng.uniform(-0.04, 0.03, 4)
    width, height = lungs.right - lungs.left, lungs.bottom - lungs.top
    box = framing.Box(
        min(max(reach[0], -0.3), lungs.left + 0.04 * width),
        min(max(reach[1], -0.3), lungs.top + 0.04 * height),
        max(1 - reach[2], lungs.right - 0.04 * width),
        max(1 - reach[3], lungs.bottom - 0.04 * height),
    )
    drawn = view(square, box, rng, angle=float(np.clip(rng.normal(0, 4), -10, 10)))
    drawn = drawn[:, ::-1] if rng.random() < 0.5 else drawn
    return _marked(_collimated(drawn, rng), rng)


def cut(square: np.ndarray, lungs: framing.Box, rng: np.random.Generator) -> np.ndarray:
    """Draw a part of a chest image that lacks two fifths to three quarters of the lungs' width or height."""
    lost, side = rng.uniform(0.4, 0.75), rng.integers(4)
    left, top, right, bottom = (float(edge) for edge in (0.0, 0.0, 1.0, 1.0))
    width, height = lungs.right - lungs.left, lungs.bottom - lungs.top
    if side == 0:
        left = lungs.left + lost * width
    elif side == 1:
        right = lungs.right - lost * width
    elif side == 2:
        top = lungs.top + lost * height
    else:
        bottom = lungs.bottom - lost * height
    drawn = view(square, framing.Box(left, top, right, bottom), rng, angle=float(np.clip(rng.normal(0, 4), -8, 8)))
    return _marked(drawn[:, ::-1] if rng.random() < 0.5 else drawn, rng)


def lateral(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a lateral view as other X-ray rooms would have framed it, closer or wider, with or without raised arms."""
    left, right = rng.uniform(-0.15, 0.2, 2)
    top, bottom = rng.uniform(-0.15, 0.2), rng.uniform(-0.1, 0.35)
    square = _warped(square, rng) if rng.random() < 0.7 else square
    square = _with_arms(square, rng) if rng.random() < 0.5 else square
    angle = float(np.clip(rng.normal(0, 6), -15, 15))
    drawn = view(square, framing.Box(left, top, 1 - right, 1 - bottom), rng, angle=angle)
    drawn = drawn[:, ::-1] if rng.random() < 0.5 else drawn
    return _marked(_collimated(drawn, rng), rng)


def _warped(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Warp a picture smoothly by a twentieth of its side, and shade it, to vary the shape of the body."""
    down, across, shade = (_smooth(rng) for _ in range(3))
    y, x = np.mgrid[:BASE, :BASE]
    moved = ndimage.map_coordinates(
        square.astype(np.float32), (y + 0.05 * BASE * down, x + 0.05 * BASE * across), order=1, mode="nearest"
    )
    return np.asarray((moved * (1 + 0.2 * shade)).clip(0, 255), np.uint8)


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth random field with values of the order of one: float32 (BASE, BASE)."""
    coarse = Image.fromarray(rng.normal(size=(4, 4)).astype(np.float32))
    return np.asarray(coarse.resize((BASE, BASE), Image.Resampling.BICUBIC))


def _with_arms(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay upper arms and a chin over the upper fifth of a lateral view."""
    over = Image.new("L", (BASE, BASE), 0)
    draw = ImageDraw.Draw(over)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(0.2, 0.8) * BASE, rng.uniform(0.05, 0.3) * BASE
        end = x + rng.normal(0, 0.4) * BASE, -0.1 * BASE
        draw.line((x, y, *end), fill=int(rng.integers(40, 130)), width=int(rng.integers(8, 26)))
    soft = np.asarray(over.filter(ImageFilter.GaussianBlur(rng.uniform(1, 4))), np.int16)
    return np.asarray((square + soft).clip(0, 255), np.uint8)


def _collimated(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.6:
        return square
    edges = (rng.uniform(0, 0.1, 4) * BASE * (rng.random(4) < 0.6)).astype(int)
    out = np.full_like(square, rng.choice(np.array((0, 0, rng.integers(0, 60), 255))))
    inside = slice(edges[0], BASE - edges[1]), slice(edges[2], BASE - edges[3])
    out[inside] = square[inside]
    return out


def _marked(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a few letters on a picture, as X-ray rooms do."""
    if rng.random() < 0.6:
        return square
    image = Image.fromarray(np.ascontiguousarray(square))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 3)):
        place = rng.choice((rng.uniform(0, 0.15), rng.uniform(0.75, 0.9))) * BASE, rng.uniform(0, 0.85) * BASE
        draw.text(place, str(rng.choice(("R", "L", "AP", "PA 12", "R SUPINE"))), fill=int(rng.integers(180, 256)))
    return np.asarray(image)


def finish(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shrink a picture to the gate's size, with random blur, noise and tone: uint8 (SIDE, SIDE)."""
    image = Image.fromarray(np.ascontiguousarray(square))
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.8)))
    small = np.asarray(image.reduce(BASE // SIDE) if BASE % SIDE == 0 else image.resize((SIDE, SIDE)), np.float32) / 255
    gamma = np.exp(rng.uniform(-0.7, 0.7))
    low = rng.uniform(0, 0.3) * (rng.random() < 0.4)
    small = low + small**gamma * rng.uniform(0.45, 1.0) * (1 - low)
    if rng.random() < 0.4:
        small = small + rng.normal(0, rng.uniform(0, 0.25) * small.std(), small.shape)
    return np.asarray((small * 255).round().clip(0, 255), np.uint8)


# ---------------------------------------------------------------- pictures of other things


def screenshot(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an image inside the window of a viewer: bars, panels and lines of text around it."""
    image = Image.new("L", (BASE, BASE), int(rng.choice((rng.integers(0, 80), rng.integers(180, 256)))))
    draw = ImageDraw.Draw(image)
    paper = image.getpixel((0, 0))
    ink = int(rng.integers(150, 256)) if int(paper) < 128 else int(rng.integers(0, 90))  # type: ignore[arg-type]
    for _ in range(rng.integers(1, 4)):
        left, top = rng.uniform(-0.1, 0.9, 2) * BASE
        draw.rectangle(
            (left, top, left + rng.uniform(5, BASE), top + rng.uniform(3, BASE / 2)), fill=int(rng.integers(256))
        )
    if rng.random() < 0.7:
        draw.rectangle((0, 0, BASE, rng.uniform(4, 14)), fill=int(rng.integers(256)))
    _write(draw, ink, rng)
    width, height = (rng.uniform(0.35, 0.8, 2) * BASE).astype(int)
    left, top = (rng.random(2) * (BASE - np.array((width, height)))).astype(int)
    image.paste(Image.fromarray(square).resize((width, height), Image.Resampling.BILINEAR), (int(left), int(top)))
    return np.asarray(image)


def _write(draw: ImageDraw.ImageDraw, ink: int, rng: np.random.Generator) -> None:
    """Draw columns of lines that look like small text."""
    for _ in range(rng.integers(1, 4)):
        left, top, step = rng.uniform(0, 0.8) * BASE, rng.uniform(0, 0.6) * BASE, rng.uniform(2.5, 6)
        for line in range(rng.integers(3, 16)):
            x = left
            for _ in range(rng.integers(1, 6)):
                end = x + rng.uniform(2, 10)
                draw.rectangle((x, top + line * step, end, top + line * step + step / 2.5), fill=ink)
                x = end + 2


def of_a_screen(square: np.ndarray, behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an image as a phone photographs it off a screen: askew, with a bezel, surroundings and glare."""
    bezel = rng.uniform(0.02, 0.12)
    screen = np.full((BASE, BASE), int(rng.integers(0, 70)), np.uint8)
    edge = int(bezel * BASE)
    inner = Image.fromarray(square).resize((BASE - 2 * edge, BASE - 2 * edge), Image.Resampling.BILINEAR)
    screen[edge : BASE - edge, edge : BASE - edge] = np.asarray(inner)
    corners = np.array(((0, 0), (1, 0), (1, 1), (0, 1))) + rng.uniform(-0.02, 0.3, (4, 2)) * (
        (1, 1),
        (-1, 1),
        (-1, -1),
        (1, -1),
    )
    matrix = _perspective(corners * BASE)
    askew = Image.fromarray(screen).transform(
        (BASE, BASE), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR
    )
    shape = Image.new("L", (BASE, BASE), 255).transform((BASE, BASE), Image.Transform.PERSPECTIVE, matrix)
    room = Image.fromarray((behind * rng.uniform(0.2, 1.0) + rng.uniform(0, 50)).clip(0, 255).astype(np.uint8))
    out = np.asarray(Image.composite(askew, room, shape), np.float32)
    y, x = np.mgrid[:BASE, :BASE] / BASE
    wave = rng.uniform(20, 160, 2) * rng.choice((-1, 1), 2)
    out = out * (1 + rng.uniform(0, 0.18) * np.sin(wave[0] * x + wave[1] * y))
    at, wide = rng.random(2), rng.uniform(0.05, 0.25)
    out += rng.uniform(0, 170) * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / wide**2)
    return np.asarray((out * rng.uniform(0.7, 1.0) + rng.uniform(0, 40)).clip(0, 255), np.uint8)


def _perspective(corners: np.ndarray) -> tuple[float, ...]:
    """Return Pillow's perspective coefficients that map a square of BASE pixels to these corners."""
    rows, right = [], []
    for (x, y), (u, v) in zip(corners, ((0, 0), (BASE, 0), (BASE, BASE), (0, BASE)), strict=True):
        rows += [(x, y, 1, 0, 0, 0, -u * x, -u * y), (0, 0, 0, x, y, 1, -v * x, -v * y)]
        right += [u, v]
    return tuple(np.linalg.solve(np.array(rows, float), np.array(right, float)))


def limb(rng: np.random.Generator) -> np.ndarray:
    """Draw a rough hand, foot or arm: rays of bone within soft shadows, on black."""
    flesh, bone = (Image.new("L", (2 * BASE, 2 * BASE), 0) for _ in range(2))
    soft, hard = ImageDraw.Draw(flesh), ImageDraw.Draw(bone)
    middle, spread = np.array((BASE, BASE * rng.uniform(1.1, 1.6))), rng.uniform(0.3, 1.5)
    count, width = int(rng.integers(1, 6)), rng.uniform(10, 22)
    palm = rng.uniform(15, 40)
    soft.ellipse((*(middle - palm), *(middle + palm)), fill=110)
    for i in range(count):
        angle = (i - (count - 1) / 2) * spread / max(1, count - 1) + rng.normal(0, 0.07)
        end = middle + np.array((np.sin(angle), -np.cos(angle))) * rng.uniform(60, 120)
        soft.line((*middle, *end), fill=int(rng.integers(70, 130)), width=int(width))
        for start, stop in ((0.1, 0.42), (0.46, 0.7), (0.73, 0.85), (0.88, 0.97)):
            a, b = middle + (end - middle) * start, middle + (end - middle) * stop
            hard.line((*a, *b), fill=int(rng.integers(80, 140)), width=max(2, int(width * 0.45)))
    if rng.random() < 0.8:
        soft.line((*middle, BASE + rng.normal(0, 10), 2 * BASE), fill=110, width=int(width * rng.uniform(1.5, 3)))
        hard.line((BASE - 7, middle[1] + 15, BASE - 8, 2 * BASE), fill=110, width=int(width / 2))
        hard.line((BASE + 7, middle[1] + 15, BASE + 8, 2 * BASE), fill=90, width=int(width / 2))
    both = np.asarray(flesh.filter(ImageFilter.GaussianBlur(3)), np.float32) + np.asarray(
        bone.filter(ImageFilter.GaussianBlur(1.2)), np.float32
    )
    return np.asarray(Image.fromarray((both * rng.uniform(0.7, 1.1)).clip(0, 255).astype(np.uint8)).reduce(2))


def leaves(rng: np.random.Generator) -> np.ndarray:
    """Draw overlapping shapes of all sizes (dead leaves), whose statistics are close to those of photographs."""
    image = Image.fromarray(_cloud(rng))
    draw = ImageDraw.Draw(image)
    for size in np.sort(rng.pareto(1.2, rng.integers(8, 90)) * 4 + 2)[::-1].clip(2, BASE):
        x, y = rng.uniform(-10, BASE + 10, 2)
        box, grey = (
            (x - size / 2, y - size * rng.uniform(0.2, 0.6), x + size / 2, y + size * rng.uniform(0.2, 0.6)),
            int(rng.integers(256)),
        )
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=grey)
    mixed = 0.75 * np.asarray(image, np.float32) + 0.25 * _cloud(rng)
    return np.asarray(Image.fromarray(mixed.astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))))


def page(rng: np.random.Generator) -> np.ndarray:
    """Draw a page of text with boxes."""
    image = Image.new("L", (BASE, BASE), int(rng.integers(190, 256)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        _write(draw, int(rng.integers(0, 120)), rng)
    drawn = np.asarray(image)
    return 255 - drawn if rng.random() < 0.3 else drawn


def _cloud(rng: np.random.Generator) -> np.ndarray:
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(BASE), np.fft.rfftfreq(BASE), indexing="ij"))
    frequency[0, 0] = 1
    parts = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    cloud = np.fft.irfft2(parts / frequency ** rng.uniform(0.7, 2.2), (BASE, BASE))
    low, high = np.percentile(cloud, (1, 99))
    return np.asarray(((cloud - low) / (high - low) * 255).clip(0, 255), np.uint8)


def shuffled(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a chest image cut into shuffled tiles, or a small part of it."""
    if rng.random() < 0.4:
        share = rng.uniform(0.12, 0.35)
        left, top = rng.uniform(0, 1 - share, 2)
        return view(square, framing.Box(left, top, left + share, top + share), rng, angle=rng.uniform(0, 360))
    parts = int(rng.choice((2, 3, 4)))
    tiles = (
        square.reshape(parts, BASE // parts, parts, BASE // parts)
        .swapaxes(1, 2)
        .reshape(-1, BASE // parts, BASE // parts)
    )
    mixed = tiles[rng.permutation(len(tiles))].reshape(parts, parts, BASE // parts, BASE // parts)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(BASE, BASE))


def any_way(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a picture that is no chest image in any orientation, zoom or brightness, also inverted."""
    square = np.rot90(square, int(rng.integers(4)))
    square = square[:, ::-1] if rng.random() < 0.5 else square
    centre, size = rng.normal(0.5, 0.07, 2), rng.uniform(0.55, 1.3, 2)
    box = framing.Box(*(centre - size / 2), *(centre + size / 2))
    drawn = view(np.ascontiguousarray(square), box, rng, angle=rng.normal(0, 15))
    return 255 - drawn if rng.random() < 0.15 else drawn


SHARES: Final = {
    "good": 0.32,
    "clockwise": 0.07,
    "upside_down": 0.08,
    "anticlockwise": 0.07,
    "inverted": 0.085,
    "cut_off": 0.075,
    "other": 0.16,
    "screen": 0.07,
    "lateral": 0.07,
}
"""The share of each kind."""


class Painter:
    """Draws pictures of every kind from the pools for training, or from those held back."""

    def __init__(self, chest: Sequence[Pool], others: Sequence[Pool], photos: np.ndarray, views: Views) -> None:
        self._chest = (*chest, _together("frontal views", views.frontal))
        self._others = (*others, *views.abdomen)
        self._photos, self._laterals = photos, views.lateral

    def draw(self, kind: str, rng: np.random.Generator) -> np.ndarray:
        """Draw one picture of a kind as the gate sees it: uint8 (SIDE, SIDE)."""
        if kind == "other":
            return finish(any_way(self._other(rng), rng), rng)
        if kind == "lateral":
            drawn = lateral(_any_of(self._laterals, rng), rng)
            # A lateral view lying on its side or inverted still counts as a lateral view.
            drawn = np.rot90(drawn, int(rng.integers(1, 4))) if rng.random() < 0.1 else drawn
            return finish(255 - drawn if rng.random() < 0.05 else drawn, rng)
        # The training set has the most images, the other sources the most variety.
        pool = self._chest[0 if rng.random() < 0.6 else int(rng.integers(len(self._chest)))]
        at = int(rng.integers(len(pool.pixels)))
        square, lungs = pool.pixels[at], pool.lungs[at]
        if kind == "cut_off":
            return finish(cut(square, lungs, rng), rng)
        drawn = ordinary(square, lungs, rng)
        if kind == "inverted":
            return finish(255 - np.rot90(drawn, int(rng.choice((0, 0, 0, 0, 1, 2, 3)))), rng)
        if kind == "screen":
            behind = self._photos[rng.integers(len(self._photos))]
            return finish(screenshot(drawn, rng) if rng.random() < 0.55 else of_a_screen(drawn, behind, rng), rng)
        return finish(np.rot90(drawn, QUARTERS[kind]), rng)

    def _other(self, rng: np.random.Generator) -> np.ndarray:
        which = rng.random()
        if which < 0.4:
            return _any_of(self._others, rng)
        if which < 0.55:
            return limb(rng)
        if which < 0.72:
            return np.asarray(self._photos[rng.integers(len(self._photos))])
        if which < 0.82:
            return leaves(rng)
        if which < 0.86:
            return page(rng)
        return shuffled(_any_of(self._chest, rng), rng)


def _any_of(pools: Sequence[Pool], rng: np.random.Generator) -> np.ndarray:
    """Choose a picture of any pool, all pools with equal probability."""
    pool = pools[int(rng.integers(len(pools)))]
    return np.asarray(pool.pixels[rng.integers(len(pool.pixels))])


def _together(name: str, pools: Sequence[Pool]) -> Pool:
    return Pool(name, np.concatenate([pool.pixels for pool in pools]), sum((pool.lungs for pool in pools), ()))


QUARTERS: Final = {"good": 0, "anticlockwise": 1, "upside_down": 2, "clockwise": 3}
"""Anticlockwise quarter turns (numpy.rot90) from an upright image to one of this kind."""
