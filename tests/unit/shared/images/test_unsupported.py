"""Files that hold something else than one whole image of a form that is read: each gets its code and its way out."""

import io
import os
import struct
import time
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from shared.errors import ImageRejected
from shared.images.preprocess import decode, decode_at_full_depth
from shared.intake import archive
from shared.intake.accept import Received
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.conftest import ROOT, draw, encode, text_of
from tests.drawn_files import radiograph

GREY = draw(1, (300, 200))
SMALL = draw(1, (75, 64))
OTHER = draw(2, (300, 200))
DEEP = np.asarray(GREY).astype(np.uint16) * 16
WHOLE = 100_000
CASES = Path(os.environ.get("PNEUMOSCREEN_TEST_CASES", ROOT.parent / "shared" / "cases"))


@pytest.fixture
def receive(store: FolderStore, settings: Settings):
    def call(data: bytes, name: str = "image", left_out: Counter[str] | None = None) -> list[Received]:
        return list(archive.receive(name, iter([data]), store, settings, left_out))

    return call


def outcome(receive, data: bytes) -> Rejection | Image.Image:
    """Send a file as the web and a worker do, and return its refusal's code or its image."""
    (item,) = receive(data)
    if item.rejection is not None:
        return item.rejection.code
    try:
        image = decode(data, WHOLE)
    except ImageRejected as refused:
        return refused.code
    assert image.size == (item.image.width, item.image.height)
    return image


# ---------------------------------------------------------------- several images


def pages(*images: Image.Image, kinds: tuple[int, ...] = (), tag: int = 254) -> bytes:
    """Write a TIFF of several pages; `kinds` are their NewSubfileType."""
    out = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(out, True) as writer:
        for place, image in enumerate(images):
            options = {"tiffinfo": {tag: kinds[place]}} if kinds else {}
            image.save(writer, "TIFF", **options)
            writer.newFrame()
    return out.getvalue()


def stack(kind: type[np.generic]) -> bytes:
    """Write a TIFF of one page with sixteen slices."""
    out = io.BytesIO()
    slices = np.stack([np.asarray(GREY).astype(kind)] * 16)
    tifffile.imwrite(out, slices, photometric="minisblack", volumetric=True, tile=(16, 32, 32))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pages(GREY, OTHER), id="tiff"),
        pytest.param(pages(GREY, SMALL), id="tiff with a small page that does not say what it is"),
        pytest.param(pages(GREY, OTHER, SMALL, kinds=(2, 2, 1)), id="tiff of two pages and a thumbnail"),
        pytest.param(stack(np.uint8), id="tiff of one page that is a stack"),
        pytest.param(stack(np.uint16), id="tiff of one deep page that is a stack"),
        pytest.param(encode(GREY, "PNG", save_all=True, append_images=[OTHER]), id="png"),
        pytest.param(
            encode(GREY.convert("RGB"), "WEBP", save_all=True, append_images=[OTHER.convert("RGB")]), id="webp"
        ),
        pytest.param(encode(GREY, "MPO", save_all=True, append_images=[OTHER]), id="mpo"),
    ],
)
def test_several_images_in_a_file_are_refused_with_a_way_out(receive, data: bytes) -> None:
    (item,) = receive(data)
    assert item.rejection.code is Rejection.SEVERAL_IMAGES
    assert "Save each as a file of its own" in text_of(item.rejection)
    with pytest.raises(ImageRejected) as refused:
        decode(data, WHOLE)
    assert refused.value.code is Rejection.SEVERAL_IMAGES


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pages(GREY, SMALL, kinds=(0, 1)), id="behind"),
        pytest.param(pages(SMALL, GREY, kinds=(1, 0)), id="before"),
        pytest.param(pages(SMALL, GREY, SMALL, kinds=(1, 0, 1)), id="around"),
        pytest.param(pages(SMALL, GREY, kinds=(2, 1), tag=255), id="in the old way"),
    ],
)
def test_a_reduced_page_of_a_tiff_is_passed_over(receive, data: bytes) -> None:
    found = outcome(receive, data)
    assert np.array_equal(np.asarray(found), np.asarray(GREY))


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(encode(GREY) + encode(OTHER), 2, id="jpeg"),
        pytest.param(padded(encode(GREY)) + encode(OTHER), 2, id="jpeg filled up to a block"),
        pytest.param(encode(GREY) + encode(SMALL) + encode(OTHER) + encode(OTHER), 3, id="jpeg with a preview"),
        pytest.param(encode(GREY, "PNG") + encode(OTHER, "PNG"), 2, id="png"),
    ],
)
def test_images_joined_in_one_file_are_refused(data: bytes, count: int) -> None:
    for read in (lambda: decode(data, WHOLE), lambda: decode(data, 32), lambda: decode_at_full_depth(data)):
        with pytest.raises(ImageRejected) as refused:
            read()
        assert (refused.value.code, refused.value.details) == (
            Rejection.SEVERAL_IMAGES,
            {"case": "pictures", "count": count},
        )


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(encode(SMALL), id="preview"),
        pytest.param(b"\xff\xd8\xff", id="start of an image and no more"),
        pytest.param(b"\0" * 9000, id="zeros"),
        pytest.param(b"MotionPhoto_Data" + encode(GREY), id="what a telephone adds"),
    ],
)
def test_what_follows_a_jpeg_and_is_no_other_image_does_no_harm(behind: bytes) -> None:
    data = encode(GREY)
    assert np.array_equal(np.asarray(decode(data + behind, WHOLE)), np.asarray(decode(data, WHOLE)))


def test_an_embedded_preview_is_no_image_behind_a_jpeg() -> None:
    preview = encode(GREY)
    data = encode(GREY)
    data = data[:2] + b"\xff\xed" + (len(preview) + 2).to_bytes(2, "big") + preview + data[2:]
    assert decode(data, WHOLE).size == GREY.size


@pytest.mark.parametrize("highest", [255, 65535])
def test_a_palette_of_a_tiff_in_8_or_16_bits_draws_the_same(highest: int) -> None:
    indexed = np.arange(64, dtype=np.uint8).reshape(8, 8).repeat(8, 0).repeat(8, 1)
    shades = np.arange(256) * (highest // 255)
    out = io.BytesIO()
    tifffile.imwrite(out, indexed * 4, photometric="palette", colormap=np.stack([shades] * 3).astype(np.uint16))
    assert np.array_equal(np.asarray(decode(out.getvalue(), WHOLE)), indexed * 4)


def test_a_smaller_picture_behind_a_jpeg_is_passed_over(receive) -> None:
    assert isinstance(outcome(receive, encode(GREY, "MPO", save_all=True, append_images=[SMALL])), Image.Image)


def test_a_turned_photograph_with_a_smaller_picture_behind_it_is_turned(receive) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(GREY, "MPO", save_all=True, append_images=[SMALL], exif=exif)
    assert outcome(receive, data).size == (200, 300)


@pytest.mark.parametrize("address", [7, 0xFFFF_FFF0, 5000])
def test_a_wrong_address_behind_the_last_page_of_a_tiff_is_no_page(receive, address: int) -> None:
    data = bytearray(encode(GREY, "TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, address)
    assert isinstance(outcome(receive, bytes(data)), Image.Image)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "body", [b"", b"II*\0", b"MM\0*" + b"\xff" * 40, b"\0" * 9], ids=["none", "short", "wild", "zeros"]
)
def test_a_damaged_exif_of_a_rare_jpeg_costs_only_its_turning(receive, body: bytes) -> None:
    plain, said = imagecodecs.jpegls_encode(BYTES), b"Exif\0\0" + body
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(said) + 2) + said + plain[2:]
    assert outcome(receive, data).size == (300, 200)


def test_a_jpeg_whose_other_pictures_were_cut_off_is_taken(receive) -> None:
    data = encode(GREY, "MPO", save_all=True, append_images=[OTHER])
    assert isinstance(outcome(receive, data[: data.rfind(b"\xff\xd8\xff")]), Image.Image)


def test_pages_that_lead_in_a_circle_end(receive) -> None:
    data = bytearray(pages(GREY, SMALL, kinds=(0, 1)))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * count)
    (count,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    assert isinstance(outcome(receive, bytes(data)), Image.Image)


# ---------------------------------------------------------------- forms that are not read


def tiff(samples: np.ndarray, compression: int, packed: bytes, kind: int = 1, colours: int = 1) -> bytes:
    """Write a TIFF by hand: one strip, packed by whatever method."""
    bits = samples.dtype.itemsize * 8
    tags = [
        (256, 4, samples.shape[1]), (257, 4, samples.shape[0]), (258, 3, bits), (259, 3, compression),
        (262, 3, colours), (273, 4, 8), (277, 3, 1), (278, 4, samples.shape[0]), (279, 4, len(packed)), (339, 3, kind),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, what, 1, value) for tag, what, value in tags)
    packed += b"\0" * (len(packed) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + entries + bytes(4)


def bmp(bits: int, compression: int, masks: bytes = b"") -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, 100, 100, 1, bits, compression, 40_000, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(masks) + 40_000, 0, 0, 54 + len(masks)) + head + masks + bytes(40_000)


BYTES = np.asarray(GREY)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        pytest.param(tiff(BYTES, 34712, imagecodecs.jpeg2k_encode(BYTES)), "JPEG 2000", id="tiff jpeg 2000"),
        pytest.param(tiff(BYTES, 33005, imagecodecs.jpeg2k_encode(BYTES)), "JPEG 2000", id="tiff aperio"),
        pytest.param(tiff(BYTES, 50002, b"\xff\x0a" + bytes(99)), "JPEG XL", id="tiff jpeg xl"),
        pytest.param(tiff(BYTES, 52546, b"\xff\x0a" + bytes(99)), "JPEG XL", id="tiff dng jpeg xl"),
        pytest.param(tiff(BYTES, 50001, encode(GREY, "WEBP")), "WebP", id="tiff webp"),
        pytest.param(tiff(BYTES, 34887, bytes(99)), "LERC", id="tiff lerc"),
        pytest.param(tiff(BYTES, 60123, bytes(99)), "method 60123", id="tiff unknown"),
        pytest.param(
            tiff(BYTES.astype(np.complex64), 1, BYTES.astype(np.complex64).tobytes(), 6), "complex", id="tiff complex"
        ),
        pytest.param(tiff(BYTES, 1, BYTES.tobytes(), colours=4), "rare form", id="tiff transparency mask"),
        pytest.param(tiff(DEEP, 1, DEEP.tobytes(), colours=3), "rare form", id="tiff palette of 16 bits"),
        pytest.param(tiff(DEEP, 1, DEEP.tobytes(), colours=32803), "rare form", id="tiff raw of a camera"),
        pytest.param(radiograph(BYTES, BitsAllocated=12, BitsStored=12, HighBit=11), "12 bits", id="dicom packed"),
        pytest.param(bmp(32, 3, struct.pack("<III", 0xFF00, 0xFF0, 0xF)), "bit fields", id="bmp bit fields"),
        pytest.param(bmp(24, 4), "JPEG", id="bmp jpeg"),
        pytest.param(bmp(2, 0), "2 bits", id="bmp 2 bits"),
        pytest.param(
            imagecodecs.jpegls_encode(np.dstack([BYTES] * 3)), "JPEG-LS of 8 bits in colour", id="jpeg-ls in colour"
        ),
        pytest.param(b"MZ" + bytes(500) + encode(GREY) + b"PK\x05\x06" + bytes(18), "in front of it", id="zip prefix"),
    ],
)
def test_a_form_that_is_not_read_is_named_and_not_called_damaged(receive, data: bytes, named: str) -> None:
    (item,) = receive(data)
    assert item.rejection.code is Rejection.UNSUPPORTED_FORM
    assert named in text_of(item.rejection)
    assert "damaged" not in text_of(item.rejection)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (encode(GREY, "GIF"), "a GIF"), (b"%PDF-1.7" + bytes(400), "a PDF"),
        (imagecodecs.jpeg2k_encode(BYTES), "JPEG 2000"),
        (b"Rar!" + bytes(400), "a RAR archive"), (bytes(4) + b"ftypheic" + bytes(400), "an HEIC file"),
        (b"PK\x07\x08" + bytes(400), "split ZIP"),
    ],
)  # fmt: skip
def test_a_format_that_is_not_taken_is_named(receive, data: bytes, named: str) -> None:
    (item,) = receive(data)
    assert item.rejection.code is Rejection.UNKNOWN_FORMAT
    assert named in text_of(item.rejection)


@pytest.mark.parametrize(
    ("data", "samples"),
    [
        pytest.param(imagecodecs.jpegls_encode(BYTES), BYTES, id="jpeg-ls 8"),
        pytest.param(imagecodecs.jpeg_encode(BYTES, lossless=True, predictor=1), BYTES, id="jpeg lossless 8"),
        pytest.param(imagecodecs.jpegls_encode(DEEP), DEEP, id="jpeg-ls 12"),
        pytest.param(
            imagecodecs.jpeg_encode(DEEP, lossless=True, bitspersample=16, predictor=1), DEEP, id="jpeg lossless 16"
        ),
        pytest.param(imagecodecs.jpeg_encode(DEEP, level=100, bitspersample=12), DEEP, id="jpeg 12"),
        pytest.param(encode(GREY, "TIFF", big_tiff=True), BYTES, id="big tiff"),
    ],
)
def test_rare_forms_that_are_read_give_the_picture(receive, data: bytes, samples: np.ndarray) -> None:
    expected = samples if samples.dtype == np.uint8 else np.asarray(decode(encode(Image.fromarray(samples), "PNG"), 64))
    found = outcome(receive, data)
    assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1


def test_a_rare_jpeg_is_turned_as_its_exif_says(receive) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    plain = imagecodecs.jpeg_encode(DEEP, level=95, bitspersample=12)
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    assert outcome(receive, data).size == (200, 300)


def with_height_behind(data: bytes, *, is_told: bool = True) -> bytes:
    """Write a JPEG's height behind its first scan (DNL; ITU T.81, B.2.5) rather than in its frame header."""
    marker = next(
        data.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7") if marker in data
    )
    scan = data.find(b"\xff\xda")
    end = min(place for sign in (b"\xff\xc4", b"\xff\xda", b"\xff\xd9") if (place := data.find(sign, scan + 2)) > 0)
    lines = b"\xff\xdc\0\4" + data[marker + 5 : marker + 7] if is_told else b""
    return data[: marker + 5] + bytes(2) + data[marker + 7 : end] + lines + data[end:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(GREY), id="grey"),
        pytest.param(encode(GREY.convert("RGB")), id="colour"),
        pytest.param(encode(GREY, restart_marker_rows=2), id="restarts"),
        pytest.param(encode(GREY, progressive=True), id="progressive"),
        pytest.param(imagecodecs.jpeg_encode(DEEP, lossless=True, bitspersample=16, predictor=1), id="lossless"),
        pytest.param(imagecodecs.jpegls_encode(DEEP), id="jpeg-ls"),
    ],
)
def test_a_jpeg_that_tells_its_height_behind_its_first_scan_is_read(receive, data: bytes) -> None:
    assert np.array_equal(outcome(receive, with_height_behind(data)), decode(data, WHOLE))


def test_a_jpeg_that_tells_no_height_is_called_damaged(receive) -> None:
    assert outcome(receive, with_height_behind(encode(GREY), is_told=False)) is Rejection.UNREADABLE_IMAGE


def bmp_of(pixels: bytes, bits: int, *, header: int = 40, compression: int = 0, tables: bytes = b"") -> bytes:
    """Write a BMP of GREY's size; `tables` are its masks or its palette."""
    colours = len(tables) // 4 if bits <= 8 else 0
    head = struct.pack("<IiiHHIIiiII", header, *GREY.size, 1, bits, compression, len(pixels), 0, 0, colours, 0)
    rest = tables.ljust(header - 40, b"\0") if bits > 8 else bytes(header - 40) + tables
    start = 54 + len(rest)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + rest + pixels


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_whose_alpha_is_zero_everywhere_is_shown_without_it(receive, header: int, alpha: int) -> None:
    pixels = np.dstack([BYTES, BYTES, BYTES, np.full_like(BYTES, alpha)])[::-1].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    found = outcome(receive, bmp_of(pixels, 32, header=header, compression=3, tables=masks))
    assert np.array_equal(np.asarray(found), BYTES)


def palette(greys: list[int]) -> bytes:
    return b"".join(bytes([grey, grey, grey, 0]) for grey in greys)


@pytest.mark.parametrize(
    "greys",
    [list(range(16)), list(range(0, 256, 17)), list(range(255, -1, -17))],
    ids=["the darkest", "all", "reversed"],
)
def test_a_bmp_of_four_bits_has_the_greys_of_its_palette(receive, greys: list[int]) -> None:
    indices = BYTES[::-1] // 17
    packed = np.zeros((200, 152), np.uint8)
    packed[:, :150] = indices[:, ::2] << 4 | indices[:, 1::2]
    found = outcome(receive, bmp_of(packed.tobytes(), 4, tables=palette(greys)))
    assert np.array_equal(np.asarray(found), np.asarray(greys)[BYTES // 17])


def test_a_bmp_of_eight_bits_in_black_and_white_is_no_bmp_of_one_bit(receive) -> None:
    found = outcome(receive, bmp_of((BYTES[::-1] >> 7).tobytes(), 8, tables=palette([0, 255])))
    assert np.array_equal(np.asarray(found), (BYTES >> 7) * np.uint8(255))


# ---------------------------------------------------------------- damage


def noisy(seed: int = 0, size: tuple[int, int] = (600, 500)) -> Image.Image:
    grains = np.random.default_rng(seed).normal(0, 25, size[::-1])
    return Image.fromarray(np.clip(np.asarray(draw(seed, size)) + grains, 0, 255).astype(np.uint8))


def damaged_scan(data: bytes, how: str) -> bytes:
    end = len(data) - 2
    start = (data.rfind(b"\xff\xda") + end) // 2
    changed = bytearray(data)
    if how == "zeroed":
        changed[start : start + 2000] = bytes(2000)
    elif how == "flipped":
        changed[start : start + 2000] = bytes(byte ^ 0x11 for byte in changed[start : start + 2000])
    elif how == "cut out":
        del changed[start : start + 3000]
    elif how == "spliced":
        changed[start:end] = encode(noisy(8), quality=60)[900:-2]
    elif how == "cut short":
        del changed[start:]
    return bytes(changed)


@pytest.mark.parametrize("kind", ["grey", "colour", "restarts", "cmyk"])
@pytest.mark.parametrize("how", ["zeroed", "flipped", "cut out", "spliced", "cut short"])
@pytest.mark.parametrize("at_least", [64, WHOLE])
def test_a_damaged_jpeg_scan_is_refused(kind: str, how: str, at_least: int) -> None:
    image = noisy().convert({"colour": "RGB", "cmyk": "CMYK"}.get(kind, "L"))
    options = {"restart_marker_rows": 2} if kind == "restarts" else {}
    with pytest.raises(ImageRejected) as refused:
        decode(damaged_scan(encode(image, **options), how), at_least)
    assert refused.value.code is (Rejection.TRUNCATED_IMAGE if how == "cut short" else Rejection.DAMAGED_SCAN)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"tiffinfo": {278: 64}}], ids=["one strip", "strips of 64 rows"])
def test_a_damaged_jpeg_inside_a_tiff_is_refused_and_a_whole_one_taken(receive, mode: str, options: dict) -> None:
    data = encode(noisy().convert(mode), "TIFF", compression="jpeg", **options)
    assert isinstance(outcome(receive, data), Image.Image)
    changed = bytearray(data)
    changed[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    assert outcome(receive, bytes(changed)) in {Rejection.DAMAGED_SCAN, Rejection.TRUNCATED_IMAGE}


def test_strips_that_are_larger_than_their_page_are_not_looked_at() -> None:
    large = encode(noisy(1, (1500, 1500)))
    data = tiff(BYTES, 7, large)
    started = time.process_time()
    with pytest.raises(ImageRejected):
        decode(data, WHOLE)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data + b"\r\n<!-- from the archive -->", id="text behind its end"),
        pytest.param(lambda data: data[:-2] + bytes(7) + data[-2:], id="zeros before its end"),
        pytest.param(lambda data: data[:11] + b"\x07" + data[12:], id="an unknown version"),
    ],
)
def test_an_odd_jpeg_that_is_whole_is_taken(receive, change) -> None:
    data = encode(GREY)
    assert np.array_equal(np.asarray(outcome(receive, change(data))), np.asarray(decode(data, WHOLE)))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_file_that_was_cut_short_says_so_whatever_the_decoder_says(kind: str) -> None:
    data = encode(noisy(0, (300, 200)), kind)
    with pytest.raises(ImageRejected) as refused:
        decode(data[: len(data) * 2 // 3], WHOLE)
    assert refused.value.code is Rejection.TRUNCATED_IMAGE


def test_a_png_that_is_damaged_in_its_middle_is_not_called_cut_short() -> None:
    data = bytearray(encode(noisy(0, (300, 200)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageRejected) as refused:
        decode(bytes(data), WHOLE)
    assert refused.value.code is Rejection.UNREADABLE_IMAGE


@pytest.mark.parametrize("size", [(300, 200), (1501, 1203), (64, 4000)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("at_least", [64, 192, WHOLE])
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives(size: tuple[int, int], mode: str, at_least: int) -> None:
    data = encode(draw(3, size).convert(mode))
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", (at_least, at_least))
        expected = np.asarray(image.convert("L"))
    assert np.array_equal(np.asarray(decode(data, at_least)), expected)


# ---------------------------------------------------------------- the cases that showed a fault


def case_files(folder: str, pattern: str) -> list[Path]:
    return sorted((CASES / folder).glob(pattern))


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
def test_every_transfer_syntax_of_the_cases_gives_the_native_samples() -> None:
    from shared.images.dicom_file import read
    from shared.images.dicom_samples import stored_samples

    def samples(path: Path) -> np.ndarray:
        with path.open("rb") as file:
            return stored_samples(read(file, stop_before_pixels=False)).astype(int)

    lossy = {"baseline": 20, "extended": 190, "lossy": 270, "near": 2}
    tried = 0
    for bits in (8, 12):
        native = samples(CASES / "dicom" / f"native{bits}_explicit_le.dcm")
        for path in case_files("dicom", f"*{bits}_*.dcm"):
            if path.name.startswith(("odd", "bad", "native8")):
                continue
            tolerance = next((value for word, value in lossy.items() if word in path.name), 0)
            difference = np.abs(samples(path) - native)
            assert difference.max() <= tolerance, path.name
            tried += 1
    assert tried >= 16


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("bad_damaged_scan_70", Rejection.DAMAGED_SCAN), ("bad_rows_differ_from_jpeg", Rejection.UNREADABLE_IMAGE),
        ("bad_lying_rows_40000", Rejection.TOO_MANY_PIXELS), ("bad_declares_2gb", Rejection.UNREADABLE_IMAGE),
        ("bad_truncated_pixels", Rejection.UNREADABLE_IMAGE), ("bad_no_preamble", None),
        ("bad_age_without_unit", None),
    ],
)  # fmt: skip
def test_a_bad_dicom_of_the_cases_gets_its_code(receive, name: str, code: Rejection | None) -> None:
    found = outcome(receive, (CASES / "dicom" / f"{name}.dcm").read_bytes())
    assert found is code if code else isinstance(found, Image.Image)


def test_none_of_the_damaged_images_is_taken_and_none_of_the_good_ones_refused(data_folder: Path) -> None:
    for path in sorted((data_folder / "corrupt").glob("*.jpeg")):
        with pytest.raises(ImageRejected) as refused:
            decode(path.read_bytes(), 192)
        assert refused.value.code in {Rejection.DAMAGED_SCAN, Rejection.TRUNCATED_IMAGE}
    good = [
        *sorted((data_folder / "originals").rglob("*.jpeg"))[::10],
        *sorted((data_folder / "adults").glob("*"))[::8],
    ]
    for path in good:
        decode(path.read_bytes(), 192)


# ---------------------------------------------------------------- ZIP


def zipped(entries: dict[str, bytes]) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return bytearray(out.getvalue())


def codes(received: list[Received]) -> dict[str, str | None]:
    return {item.file_name: item.rejection.code.value if item.rejection else None for item in received}


IMAGE = encode(GREY)


@pytest.mark.parametrize(
    ("method", "named"), [(9, "Deflate64"), (95, "XZ"), (98, "PPMd"), (93, "Zstandard"), (1, "Shrink")]
)
def test_a_method_of_a_zip_that_is_not_read_is_named(receive, method: int, named: str) -> None:
    data = zipped({"a.jpg": IMAGE, "b.jpg": encode(OTHER)})
    struct.pack_into("<H", data, 8, method)
    struct.pack_into("<H", data, data.find(b"PK\x01\x02") + 10, method)
    bad, good = receive(bytes(data), "images.zip")
    assert bad.rejection.code is Rejection.ZIP_ENTRY_UNSUPPORTED
    assert named in text_of(bad.rejection)
    assert good.image is not None


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Müller.jpg".encode(), "Müller.jpg"), ("Łukasz 肺.jpg".encode(), "Łukasz 肺.jpg"),
        ("Müller Ärzte.jpg".encode("cp1252"), "Müller Ärzte.jpg"),
        ("Müller Ärzte.jpg".encode("cp437"), "Müller Ärzte.jpg"),
        (b"plain.jpg", "plain.jpg"), ("Señor Ñandú.jpg".encode("cp437"), "Señor Ñandú.jpg"),
    ],
    ids=["utf-8", "utf-8 of other scripts", "cp1252", "cp437", "ascii", "cp437 spanish"],
)  # fmt: skip
def test_a_name_without_the_utf8_flag_is_read_by_the_rule(receive, written: bytes, shown: str) -> None:
    data = zipped({"Q" * len(written): IMAGE}).replace(b"Q" * len(written), written)
    assert codes(receive(bytes(data), "z.zip")) == {f"z.zip/{shown}": None}


def test_the_unicode_path_of_info_zip_counts(receive) -> None:
    written, name = b"M?ller.jpg", "Müller.jpg".encode()
    info = zipfile.ZipInfo(written.decode())
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(written)) + name
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(info, IMAGE)
    assert codes(receive(out.getvalue(), "z.zip")) == {"z.zip/Müller.jpg": None}


def test_what_lies_on_a_disc_beside_images_is_left_out_and_counted(receive) -> None:
    data = zipped({
        "DICOMDIR": bytes(128) + b"DICM" + bytes(200), "IMAGES/IM1": IMAGE, "AUTORUN.INF": b"[autorun]",
        "README.TXT": b"x", "VIEWER/viewer.exe": b"MZ", "VIEWER/index.html": b"<html>",
        "__MACOSX/._b.jpg": b"\0\5\x16\7", "._a.jpg": b"\0\5\x16\7", ".DS_Store": b"x", "Thumbs.db": b"x",
        "report.txt": b"a letter",
    })  # fmt: skip
    left_out: Counter[str] = Counter()
    found = codes(receive(bytes(data), "disc.zip", left_out))
    assert found == {"disc.zip/IMAGES/IM1": None, "disc.zip/report.txt": "unknown_format"}
    assert left_out.total() == 9
    assert len(left_out) == 2


def test_an_image_is_taken_though_its_name_is_that_of_a_program(receive) -> None:
    assert codes(receive(bytes(zipped({"scan.ini": IMAGE, "readme": encode(OTHER)})), "z.zip")) == {
        "z.zip/scan.ini": None,
        "z.zip/readme": None,
    }


def test_a_zip_of_a_viewer_alone_is_empty(receive) -> None:
    left_out: Counter[str] = Counter()
    assert codes(receive(bytes(zipped({"viewer.exe": b"MZ"})), "z.zip", left_out)) == {"z.zip": "zip_empty"}
    assert left_out.total() == 1


def test_a_zip_of_zips_has_a_row_each_and_one_whose_entries_all_fail_too(receive) -> None:
    inner = bytes(zipped({"a.jpg": IMAGE}))
    assert codes(receive(bytes(zipped({f"{n}.zip": inner for n in range(3)})), "z.zip")) == {
        f"z.zip/{n}.zip": "zip_entry_nested" for n in range(3)
    }


def test_a_zip_of_a_hundred_thousand_entries_is_refused_at_once(receive) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("first.jpg", IMAGE)
        for number in range(100_000):
            file.filelist.append(info := zipfile.ZipInfo(f"{number}.jpg"))
            info.header_offset = info.CRC = 0
        file._didModify = True
    assert codes(receive(out.getvalue(), "z.zip")) == {"z.zip": "zip_too_many_entries"}
