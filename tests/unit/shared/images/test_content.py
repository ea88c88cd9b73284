"""Images with nothing on them: refused with a code, whatever holds them; every real one passes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from shared.errors import ImageRejected
from shared.images.content import refuse_without_content
from shared.images.preprocess import decode, prepare
from shared.models.spec import ModelSpec
from shared.refusals import Rejection
from tests.conftest import draw, encode, text_of
from tests.drawn_files import picture, radiograph, tiff

SIDE = 600
RNG = np.random.default_rng(0)
Y, X = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def checkerboard(square: int) -> Image.Image:
    return grey((np.indices((SIDE, SIDE)) // square).sum(0) % 2 * 255.0)


def page_of_text(size: int) -> Image.Image:
    page = Image.new("L", (800, 1000), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for top in range(0, 1000, int(size * 1.3)):
        pen.text((20, top), "The chest radiograph shows no acute findings 0123 " * 3, fill=0, font=font)
    return page


def drawing() -> Image.Image:
    sheet = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(sheet)
    for _ in range(12):
        pen.line([tuple(RNG.integers(0, SIDE, 2).tolist()) for _ in range(2)], fill=0, width=3)
    pen.ellipse((100, 100, 300, 400), fill=128)
    return sheet


ONE_BRIGHT = np.zeros((SIDE, SIDE))
ONE_BRIGHT[300, 300] = 255
FRAME = np.zeros((SIDE, SIDE))
FRAME[40:-40, 40:-40] = 200

JUNK = {
    **{f"all {value}": grey(np.full((SIDE, SIDE), float(value))) for value in (0, 1, 128, 255)},
    "one bright pixel": grey(ONE_BRIGHT),
    "frame": grey(FRAME),
    "uniform noise": grey(RNG.uniform(0, 255, (SIDE, SIDE))),
    "noise of the network's size": grey(RNG.uniform(0, 255, (160, 160))),
    "noise of 3000 pixels": grey(RNG.uniform(0, 255, (3000, 3000))),
    "normal noise": grey(RNG.normal(128, 30, (SIDE, SIDE))),
    "weak noise": grey(RNG.normal(128, 4, (SIDE, SIDE))),
    "salt and pepper": grey((RNG.random((SIDE, SIDE)) > 0.5) * 255.0),
    "grains of salt": grey((RNG.random((SIDE, SIDE)) > 0.99) * 255.0),
    "blurred noise": grey(RNG.uniform(0, 255, (SIDE, SIDE))).filter(ImageFilter.GaussianBlur(2)),
    "blocks of noise": grey(np.kron(RNG.uniform(0, 255, (150, 150)), np.ones((4, 4)))),
    "ramp": grey(X * 255),
    "ramp down": grey(255 - Y * 255),
    "weak ramp": grey(100 + 40 * X),
    "diagonal ramp": grey((X + Y) * 127),
    "product of ramps": grey(X * Y * 255),
    "cone": grey(np.hypot(X - 0.5, Y - 0.5) * 360),
    "vignette": grey(200 - 150 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2)),
    "wave": grey(127 + 127 * np.sin(X * 6.28)),
    **{f"squares of {square}": checkerboard(square) for square in (1, 2, 8, 16, 32, 60, 100, 300)},
    **{f"stripes of {width}": grey((X * SIDE // width) % 2 * 255) for width in (1, 4, 20, 60)},
    "halves": grey((X > 0.5) * 255.0),
    "bars": grey(np.floor(X * 8) * 32),
    "step wedge": grey(np.floor(X * 16) * 16),
    "rectangles": grey(np.kron(RNG.integers(0, 256, (3, 3)), np.ones((200, 200)))),
    **{f"text of {size}": page_of_text(size) for size in (12, 20, 40)},
    "drawing": drawing(),
}


@pytest.mark.parametrize("name", JUNK)
@pytest.mark.parametrize(("as_file", "side"), [("PNG", 160), ("JPEG", 160), ("PNG", 224)])
def test_what_shows_nothing_is_refused(name: str, as_file: str, side: int, spec: ModelSpec) -> None:
    with pytest.raises(ImageRejected) as refused:
        prepare(encode(JUNK[name], as_file), spec.model_copy(update={"input_size": side}))
    assert refused.value.code is Rejection.NO_CONTENT
    assert text_of(refused.value).endswith("otherwise leave the file out.")


EMPTY = {
    "transparent PNG": lambda: encode(Image.merge("LA", (draw(1), Image.new("L", draw(1).size))), "PNG"),
    "transparent RGBA": lambda: encode(Image.new("RGBA", (200, 200), (255, 200, 90, 0)), "PNG"),
    "flat PNG of 16 bits": lambda: encode(Image.fromarray(np.full((90, 100), 1234, np.uint16)), "PNG"),
    "flat TIFF of floats": lambda: tiff(np.full((90, 100), 0.5, np.float32)),
    "TIFF without numbers": lambda: tiff(np.full((90, 100), np.nan, np.float32)),
    "blank radiograph": lambda: radiograph(np.full((90, 100), 700, np.uint16), BitsStored=12, HighBit=11),
    "blank radiograph of 8 bits": lambda: radiograph(np.full((90, 100), 255, np.uint8)),
    "radiograph of noise": lambda: radiograph(RNG.integers(0, 4096, (200, 200), dtype=np.uint16)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_what_shows_nothing_is_refused_whatever_holds_it(name: str, spec: ModelSpec) -> None:
    make: Callable[[], bytes] = EMPTY[name]
    with pytest.raises(ImageRejected) as refused:
        prepare(make(), spec)
    assert refused.value.code is Rejection.NO_CONTENT


@pytest.mark.parametrize("side", [160, 192, 224, 299, 384])
def test_drawn_pictures_pass_at_every_size_of_a_network(side: int) -> None:
    for seed in range(30):
        refuse_without_content(np.asarray(draw(seed).resize((side, side))))
        refuse_without_content(np.rint(picture((side, side), seed) * 255).astype(np.uint8))


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8])
def test_a_wide_black_border_is_no_lack_of_content(share: float, spec: ModelSpec) -> None:
    pixels = np.rint(picture((400, 500)) * 255).astype(np.uint8)
    pixels[:, : int(500 * share)] = 0
    for side in (160, 224):
        prepare(encode(Image.fromarray(pixels), "PNG"), spec.model_copy(update={"input_size": side}))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_thin_lines_along_a_weak_picture_are_no_noise(width: int) -> None:
    pixels = np.rint(100 + picture((160, 160)) * 60).astype(np.uint8)
    for place in range(12):
        framed = pixels.copy()
        framed[:, place : place + width] = framed[:, 150 - place : 150 - place + width] = 0
        refuse_without_content(framed)
        refuse_without_content(framed.T)


@pytest.mark.parametrize("side", [160, 224])
def test_real_chest_images_pass(data_folder: Path, side: int, spec: ModelSpec) -> None:
    """Every 25th of each folder; all 6,600 were tried, see docs/decisions.md."""
    folders = ["chest_xray/train/*", "originals/*", "adults", "dicom", "elsewhere/*/*/*"]
    of_chests = [
        path
        for pattern in folders
        for path in sorted(data_folder.glob(f"{pattern}/*"))[::25]
        if path.suffix in {".jpeg", ".jpg", ".png", ".dcm"} and "NOT_CHEST" not in path.parts
    ]
    assert len(of_chests) > 200
    for path in of_chests:
        prepare(path.read_bytes(), spec.model_copy(update={"input_size": side}))


def test_a_refused_image_is_shown_as_it_is() -> None:
    assert not np.asarray(decode(encode(JUNK["all 0"], "PNG"), 64)).any()
