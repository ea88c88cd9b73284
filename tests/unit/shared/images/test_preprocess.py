"""From bytes to what the network sees: every format and mode, and every way a file can be bad."""

import io
import struct
import warnings
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shared.errors import ImageRejected
from shared.images.preprocess import decode, prepare, thumbnail
from shared.models.spec import ImageClass, ModelSpec
from shared.refusals import Rejection
from tests.conftest import draw, text_of

SPEC = ModelSpec(
    name="test",
    description="for tests",
    input_size=192,
    classes=(ImageClass.NORMAL, ImageClass.BACTERIAL, ImageClass.VIRAL),
    temperature=1.0,
    threshold=0.5,
    threshold_rule="fixed",
    intended_population="none",
    training_data="none",
    licence="none",
    sha256="0" * 64,
    parameters=1,
    commit="uncommitted",
    trained_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def draw_image() -> Image.Image:
    """Draw an image with no symmetry, black to white, 320 wide and 256 high."""
    y, x = np.mgrid[0:256, 0:320].astype(np.float32)
    lung = np.exp(-(((x - 90) / 50) ** 2 + ((y - 120) / 80) ** 2))
    heart = np.exp(-(((x - 210) / 60) ** 2 + ((y - 180) / 40) ** 2))
    values = 0.5 * x / 319 + 0.3 * y / 255 - 0.4 * lung + 0.5 * heart
    values += 0.08 * np.sin(x / 5) * np.sin(y / 4)  # without fine detail it would be refused (shared.images.content)
    values = (values - values.min()) / (values.max() - values.min())
    return Image.fromarray((values * 255).astype(np.uint8))


IMAGE = draw_image()
ROTATED = 6  # EXIF orientation: turn clockwise by 90 degrees to show (CIPA DC-008, tag 0x0112)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def in_mode(mode: str) -> Image.Image:
    """Return the image in a Pillow mode; alpha is opaque, 16-bit samples use their whole range."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(IMAGE).astype(np.uint16) * 257)
    if mode == "LA":
        return Image.merge("LA", (IMAGE, Image.new("L", IMAGE.size, 255)))
    if mode == "P":
        return IMAGE.convert("RGB").quantize(256)
    return IMAGE.convert("RGB").convert(mode) if mode in {"RGBA", "CMYK"} else IMAGE.convert(mode)


REFERENCE = prepare(encode(IMAGE, "PNG"), SPEC)

KINDS = [
    *[("JPEG", mode) for mode in ("L", "RGB", "CMYK")],
    *[("PNG", mode) for mode in ("L", "I;16", "RGB", "P", "LA", "RGBA")],
    *[("TIFF", mode) for mode in ("L", "I;16", "RGB", "P", "RGBA", "CMYK")],
    *[("BMP", mode) for mode in ("L", "RGB", "P")],
    *[("WEBP", mode) for mode in ("L", "RGB", "RGBA")],
]


@pytest.mark.parametrize(("file_format", "mode"), KINDS, ids=[f"{f}-{m}" for f, m in KINDS])
def test_every_format_and_mode_gives_the_same_image(file_format: str, mode: str) -> None:
    image = prepare(encode(in_mode(mode), file_format), SPEC)
    assert image.shape == (192, 192, 1)
    assert image.dtype == np.uint8
    # Lossy formats and palettes of fewer greys differ by a few levels; a wrong mode differs by dozens.
    assert np.abs(image.astype(int) - REFERENCE).mean() < 3.0


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_turned_by_its_exif_equals_the_upright_one(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    lying = IMAGE.transpose(Image.Transpose.ROTATE_90)
    options: dict[str, object] = {"lossless": True} if file_format == "WEBP" else {}
    turned = prepare(encode(lying, file_format, exif=exif, **options), SPEC)
    unturned = prepare(encode(lying, file_format, **options), SPEC)
    assert np.abs(turned.astype(int) - REFERENCE).mean() < 2.0
    assert np.abs(unturned.astype(int) - REFERENCE).mean() > 20.0


def test_sixteen_bits_are_scaled_by_the_images_own_range() -> None:
    twelve_bit = Image.fromarray(np.asarray(IMAGE).astype(np.uint16) * 16 + 7)
    image = prepare(encode(twelve_bit, "PNG"), SPEC)
    assert np.abs(image.astype(int) - REFERENCE).max() <= 1


def test_transparent_areas_become_black() -> None:
    pixels = np.asarray(IMAGE.convert("RGBA")).copy()
    pixels[:, :100] = (255, 255, 255, 0)
    grey = np.asarray(decode(encode(Image.fromarray(pixels), "PNG"), 64))
    assert not grey[:, :100].any()
    assert np.array_equal(grey[:, 100:], np.asarray(IMAGE)[:, 100:])


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    large = IMAGE.resize((2560, 2048), Image.Resampling.BICUBIC)
    data = encode(large, "JPEG", quality=90)
    assert decode(data, at_least=384).size == (640, 512)
    assert np.abs(prepare(data, SPEC).astype(int) - REFERENCE).mean() < 2.0


def test_an_image_of_the_networks_own_size_is_not_touched() -> None:
    pixels = np.asarray(IMAGE)[:192, :192].copy()
    pixels[:4] = np.arange(4 * 192, dtype=np.uint32).reshape(4, 192).astype(np.uint8)
    assert np.array_equal(prepare(encode(Image.fromarray(pixels), "PNG"), SPEC)[..., 0], pixels)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((640, 512), (92, 74)),
        ((96, 70), (96, 70)),
        ((100, 145), (50, 73)),
        ((2000, 64), (96, 4)),
        ((1, 1), (1, 1)),
    ],
)
def test_a_thumbnail_is_shrunk_by_a_whole_factor(size: tuple[int, int], shown: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(thumbnail(Image.new("L", size)))) as small:
        assert small.size == shown


def png_header(width: int, height: int) -> bytes:
    """Make a PNG that claims a size and holds a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


JPEG = encode(IMAGE, "JPEG")
PNG = encode(IMAGE, "PNG")
TIFF = encode(IMAGE, "TIFF")
WEBP = encode(IMAGE, "WEBP")
BMP = encode(IMAGE, "BMP")

BAD = {
    "empty": (b"", Rejection.EMPTY_FILE),
    "text": (b"Dear colleague, please find the image attached.", Rejection.UNKNOWN_FORMAT),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", Rejection.UNKNOWN_FORMAT),
    "gif": (encode(IMAGE, "GIF"), Rejection.UNKNOWN_FORMAT),
    "jpeg cut short": (JPEG[: len(JPEG) // 2], Rejection.TRUNCATED_IMAGE),
    "png cut short": (PNG[: len(PNG) // 2], Rejection.TRUNCATED_IMAGE),
    "bmp cut short": (BMP[: len(BMP) // 2], Rejection.TRUNCATED_IMAGE),
    "bomb": (png_header(60_000, 60_000), Rejection.TOO_MANY_PIXELS),
    "small bomb": (png_header(10_000, 10_000), Rejection.TOO_MANY_PIXELS),
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD.keys())
def test_bad_bytes_are_rejected_with_their_code_and_a_sentence(data: bytes, code: Rejection) -> None:
    with pytest.raises(ImageRejected) as rejected:
        prepare(data, SPEC)
    assert rejected.value.code is code
    assert text_of(rejected.value).endswith(".")


@pytest.mark.parametrize("data", [TIFF[: len(TIFF) // 2], WEBP[: len(WEBP) // 2]], ids=["tiff", "webp"])
def test_other_formats_cut_short_are_rejected(data: bytes) -> None:
    with pytest.raises(ImageRejected):
        prepare(data, SPEC)


SMALL = ImageOps.contain(IMAGE, (48, 48))
SEEDS = [
    encode(SMALL, "JPEG"),
    encode(SMALL, "PNG"),
    encode(SMALL, "TIFF", compression="tiff_lzw"),
    encode(SMALL, "WEBP"),
    encode(SMALL, "BMP"),
    encode(Image.fromarray(np.asarray(SMALL).astype(np.uint16) * 257), "PNG"),
]
MUTATION = st.tuples(st.integers(0, 4000), st.integers(0, 255))


@settings(max_examples=400, deadline=None)
@given(seed=st.sampled_from(SEEDS), changes=st.lists(MUTATION, max_size=12), keep=st.floats(0.2, 1.0))
def test_damaged_bytes_give_an_image_or_a_rejection_and_nothing_else(
    seed: bytes, changes: list[tuple[int, int]], keep: float
) -> None:
    data = bytearray(seed[: max(1, int(len(seed) * keep))])
    for place, value in changes:
        data[place % len(data)] = value
    try:
        image = prepare(bytes(data), SPEC)
    except ImageRejected as error:
        outcome: object = error.code
    else:
        outcome = (image.shape, image.dtype)
    assert isinstance(outcome, Rejection) or outcome == ((192, 192, 1), np.uint8)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("filter_", ["ignore", "error"])
def test_what_pillow_only_warns_of_is_refused_whatever_is_made_of_warnings(
    monkeypatch: pytest.MonkeyPatch, file_format: str, filter_: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 256 * 224 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter(filter_, Image.DecompressionBombWarning)
        with pytest.raises(ImageRejected) as refused:
            decode(encode(draw(0), file_format), 224)
    assert refused.value.code is Rejection.TOO_MANY_PIXELS


def png_of(rows: list[bytes], size: tuple[int, int], depth: int, kind: int, *, is_interlaced: bool = False) -> bytes:
    """Write a PNG of these rows, whatever its size says."""
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, is_interlaced)
    palette = bytes(level for level in range(256) for _ in range(3))
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *([(b"PLTE", palette)] if kind == 3 else []), (b"IDAT", pixels), (b"IEND", b"")]
    written = (struct.pack(">I", len(body)) + name + body for name, body in chunks)
    checks = (struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(one + check for one, check in zip(written, checks, strict=True))


def rows_of(samples: np.ndarray, *, is_interlaced: bool = False) -> list[bytes]:
    """Return the rows of a PNG as they lie in it; seven passes where it is interlaced (W3C PNG, 8.1)."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    steps = passes if is_interlaced else [(0, 0, 1, 1)]
    return [row.tobytes() for x, y, across, down in steps for row in samples[y::down, x::across]]


def in_bits(grey: np.ndarray, depth: int) -> np.ndarray:
    """Return 8-bit grey in samples of 8 or 16 bits as a PNG has them."""
    return grey if depth == 8 else (grey.astype(np.uint16) * 257).astype(">u2")


GREY_OR_PALETTE = [(8, 0), (16, 0), (8, 3)]
"""Bits of a sample and the kind of colour."""


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize(("depth", "kind"), GREY_OR_PALETTE)
@pytest.mark.parametrize("missing", [1, 100])
def test_a_png_whose_last_rows_are_missing_is_refused(depth: int, kind: int, missing: int, is_interlaced: bool) -> None:
    rows = rows_of(in_bits(np.asarray(IMAGE), depth), is_interlaced=is_interlaced)
    data = png_of(rows[:-missing], IMAGE.size, depth, kind, is_interlaced=is_interlaced)
    with pytest.raises(ImageRejected) as refused:
        decode(data, 10_000)
    assert refused.value.code is Rejection.TRUNCATED_IMAGE


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize(("depth", "kind"), GREY_OR_PALETTE)
def test_a_png_whose_last_rows_are_black_is_taken(depth: int, kind: int, is_interlaced: bool) -> None:
    black = np.asarray(IMAGE).copy()
    black[-40:] = 0
    rows = rows_of(in_bits(black, depth), is_interlaced=is_interlaced)
    data = png_of(rows, IMAGE.size, depth, kind, is_interlaced=is_interlaced)
    assert np.array_equal(np.asarray(decode(data, 10_000)), black)
