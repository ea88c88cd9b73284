"""TIFFs of every depth, sign, polarity and packing: the right grey, or refused by the name of their form."""

import io
import itertools
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from shared.errors import ImageRejected
from shared.images.preprocess import decode
from shared.images.tiff import read_deep
from shared.intake.archive import receive
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from tests.conftest import draw, text_of
from tests.drawn_files import picture, tiff

PICTURE = picture()
KINDS = ("i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


def in_kind(kind: str) -> np.ndarray:
    """Return the picture over nearly all of what a kind of sample can hold."""
    if kind[0] == "f":
        return (PICTURE * 1000 - 300).astype(kind)
    least, most = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    return np.rint(least + PICTURE * (most - least)).astype(kind)


def expected(samples: np.ndarray, *, is_white_zero: bool = False) -> np.ndarray:
    values = samples.astype(np.float64)
    low, high = (-128, 127) if samples.dtype == "i1" else (values.min(), values.max())
    grey = (values - low) / (high - low) * 255
    return 255 - grey if is_white_zero else grey


def differs(data: bytes, right: np.ndarray) -> float:
    return float(np.abs(np.asarray(decode(data, 64)) - right).max())


PACKINGS = [
    {},
    {"compression": "zlib"},
    {"compression": "lzw"},
    {"compression": "packbits"},
    {"compression": "zstd", "tile": (32, 48)},
    {"compression": "lzma", "rowsperstrip": 7},
    {"compression": "adobe_deflate", "tile": (32, 48)},
    {"tile": (32, 48)},
    {"rowsperstrip": 7},
    {"bigtiff": True},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "predictor": True, "tile": (64, 16)},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_white_zero", [False, True], ids=["black-is-zero", "white-is-zero"])
def test_every_kind_of_sample_in_every_packing_and_byte_order(kind: str, is_white_zero: bool) -> None:
    samples = in_kind(kind)
    right = expected(samples, is_white_zero=is_white_zero)
    packings = [packing for packing in PACKINGS if kind not in {"u8", "i8"} or "predictor" not in packing]
    for packing, order in itertools.product(packings, "<>"):
        data = tiff(samples, is_white_zero=is_white_zero, byteorder=order, **packing)
        assert differs(data, right) <= 0.5, (packing, order)


@pytest.mark.parametrize("bits", range(9, 16))
def test_samples_that_do_not_fill_their_bytes(bits: int) -> None:
    samples = np.rint(PICTURE * (2**bits - 1)).astype(np.uint16)
    packed = b"".join(imagecodecs.packints_encode(row, bits) for row in samples)
    plain = tiff(samples)
    with tifffile.TiffFile(io.BytesIO(plain)) as file:
        tags = file.pages[0].tags
        places = {name: tags[name].offset for name in ("BitsPerSample", "StripOffsets", "StripByteCounts")}
    data = bytearray(plain)
    for name, value in (("BitsPerSample", bits), ("StripOffsets", len(plain)), ("StripByteCounts", len(packed))):
        struct.pack_into(
            "<HHII", data, places[name], int.from_bytes(plain[places[name] : places[name] + 2], "little"), 4, 1, value
        )
    assert differs(bytes(data) + packed, expected(samples)) <= 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_tiff_is_turned_upright(orientation: int, store: FolderStore, settings: Settings) -> None:
    samples = in_kind("u2")
    eight = np.rint(expected(samples)).astype(np.uint8)
    data = tiff(samples, extratags=[(274, "H", 1, orientation, True)])
    turned = tiff(eight, extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(np.asarray(decode(data, 64)), np.asarray(decode(turned, 64)))
    (item,) = receive("image.tif", iter([data]), store, settings)
    assert (item.image.width, item.image.height) == decode(data, 64).size


def test_reversed_bits_are_turned_round() -> None:
    samples = in_kind("u2")
    data = tiff(imagecodecs.bitorder_encode(samples.astype("<u2")))
    assert read_deep(io.BytesIO(data)) is not None
    reversed_bits = with_tag(renamed(data, 296, 266), 266, 2)
    assert differs(reversed_bits, expected(samples)) <= 0.5


def test_a_reduced_page_in_front_is_passed_over() -> None:
    samples = in_kind("u2")
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(samples[::4, ::4][::-1], subfiletype=1)
        writer.write(samples, subfiletype=0)
    assert differs(out.getvalue(), expected(samples)) <= 0.5


def test_of_several_whole_pages_none_is_chosen() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for _ in range(2):
            writer.write(in_kind("u2"))
    with pytest.raises(ImageRejected, match="several_images case='pages' count=2"):
        decode(out.getvalue(), 64)


def test_a_wrong_address_behind_the_last_page_is_passed_over() -> None:
    samples = in_kind("u2")
    data = bytearray(tiff(samples))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for wrong in (start, 2**32 - 1, 5):
        struct.pack_into("<I", data, start + 2 + 12 * count, wrong)
        assert differs(bytes(data), expected(samples)) <= 0.5


def test_floats_that_are_no_numbers_are_black_and_infinite_ones_are_refused() -> None:
    samples = in_kind("f4")
    right = expected(samples)
    samples[:, :20] = np.nan
    right = (PICTURE - PICTURE[:, 20:].min()) / np.ptp(PICTURE[:, 20:]) * 255
    right[:, :20] = 0
    for is_white_zero in (False, True):
        turned = np.where(np.isnan(samples), 0, 255 - right) if is_white_zero else right
        assert differs(tiff(samples, is_white_zero=is_white_zero), turned) <= 0.5
    samples[50, 50] = np.inf
    with pytest.raises(ImageRejected, match="infinite"):
        decode(tiff(samples), 64)


def test_one_hot_sample_does_not_set_the_range() -> None:
    samples = np.rint(20_000 + PICTURE * 4000).astype(np.uint32)
    right = expected(samples)
    samples[4, 5] = 2**32 - 1
    right[4, 5] = 255
    assert differs(tiff(samples), right) <= 0.5


def renamed(data: bytes, tag: int, other: int) -> bytes:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].tags[tag].offset
    return data[:place] + struct.pack("<H", other) + data[place + 2 :]


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].tags[tag].valueoffset
    return data[:place] + struct.pack("<H", value) + data[place + 2 :]


def tiff_of_colour(samples: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, samples, photometric="rgb", **options)
    return out.getvalue()


COLOUR = np.stack([in_kind("u2")] * 3, -1)

UNREAD = {
    "photometric interpretation left out": (renamed(tiff(in_kind("u2")), 262, 65_000), "black or white is zero"),
    "24 bits": (with_tag(tiff(in_kind("u4")), 258, 24), "unsigned samples of 24 bits"),
    "complex": (with_tag(tiff(in_kind("f4")), 339, 6), "complex samples of 32 bits"),
    "JPEG 2000": (with_tag(tiff(in_kind("u2")), 259, 34_712), "compressed by the method JPEG 2000"),
    "unknown compression": (with_tag(tiff(in_kind("u2")), 259, 777), "compressed by the method 777"),
    "grey with alpha": (
        tiff(COLOUR[..., :2], extrasamples=["unassalpha"], planarconfig="contig"),
        "2 unsigned samples",
    ),
    "planes": (tiff_of_colour(np.moveaxis(COLOUR, -1, 0), planarconfig="separate"), "3 planes of 16 bits"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_refused_by_name(name: str, store: FolderStore, settings: Settings) -> None:
    data, words = UNREAD[name]
    with pytest.raises(ImageRejected) as refused:
        decode(data, 64)
    assert refused.value.code is Rejection.UNSUPPORTED_FORM
    assert words in text_of(refused.value)
    (item,) = receive("image.tif", iter([data]), store, settings)
    assert item.rejection.code is Rejection.UNSUPPORTED_FORM


def test_strips_that_are_short_are_refused_rather_than_black() -> None:
    samples = in_kind("u2")
    for compression in (None, "zlib", "lzw", "packbits", "zstd"):
        data = tiff(samples, compression=compression, rowsperstrip=16)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            tag = file.pages[0].tags["StripByteCounts"]
        size = {3: 2, 4: 4}[int(tag.dtype)]
        broken = data[: tag.valueoffset] + (5).to_bytes(size, "little") + data[tag.valueoffset + size :]
        with pytest.raises(ImageRejected) as refused:
            decode(broken, 64)
        assert refused.value.code is Rejection.UNREADABLE_IMAGE
    with pytest.raises(ImageRejected) as refused:
        decode(tiff(samples)[:-100], 64)
    assert refused.value.code is Rejection.TRUNCATED_IMAGE


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (32, 48)}], ids=["strips", "tiles"])
def test_a_part_that_was_never_written_is_refused_rather_than_drawn_from_the_header(
    kind: str, options: dict[str, object]
) -> None:
    data = tiff(in_kind(kind), **options)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        place = tags[324 if "tile" in options else 273].valueoffset
    size = 2 if data[place + 2 : place + 4] != b"\0\0" else 4
    assert decode(data, 64).size == (112, 96)
    with pytest.raises(ImageRejected) as refused:
        decode(data[:place] + bytes(size) + data[place + size :], 64)
    assert refused.value.code is Rejection.UNREADABLE_IMAGE


def test_pillow_still_reads_the_others() -> None:
    for image in (draw(1), draw(1).convert("RGB"), draw(1).convert("1"), draw(1).convert("RGB").quantize(64)):
        out = io.BytesIO()
        image.save(out, "TIFF")
        assert read_deep(out) is None
    colour = tiff_of_colour(COLOUR)
    assert np.abs(np.asarray(decode(colour, 64)) - COLOUR[..., 0] / 257).max() <= 1.5


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize("has_mark", [False, True], ids=["bare", "with a white mark"])
def test_deep_colour_that_uses_few_of_its_bits_is_refused(kind: str, has_mark: bool) -> None:
    dark = (COLOUR >> 4).astype(np.uint16)
    if has_mark:
        dark[:2, :5] = 65535
    data = tiff_of_colour(dark) if kind == "TIFF" else imagecodecs.png_encode(dark)
    with pytest.raises(ImageRejected) as refused:
        decode(data, 64)
    assert refused.value.code is Rejection.UNSUPPORTED_FORM
    assert refused.value.details == {"case": "deep_colour"}


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_grey_that_a_png_calls_transparent_is_black(bits: int) -> None:
    most = 2**bits - 1
    samples = np.rint(PICTURE * most).astype(np.uint16)
    for clear in {0, most // 2, most}:
        whole = np.unpackbits(samples.astype(">u2").view(np.uint8).reshape(*samples.shape, 2), axis=2)[..., 16 - bits :]
        rows = np.packbits(whole.reshape(samples.shape[0], -1), axis=1)
        lines = np.insert(rows, 0, 0, axis=1).tobytes()

        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", clear))
        data += chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
        is_clear = samples == clear
        kept = samples[~is_clear]
        low, high = (kept.min(), kept.max()) if bits == 16 else (0, most)
        right = np.where(is_clear, 0, (samples.astype(float) - low) / (high - low) * 255)
        assert differs(data, right) <= 0.5
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == PICTURE.shape[::-1]


@pytest.mark.parametrize("options", [{"rowsperstrip": 7}, {"tile": (32, 48)}, {"bigtiff": True}])
@pytest.mark.parametrize("is_there", [False, True])
def test_the_lengths_of_plain_strips_and_tiles_may_be_missing(options: dict[str, object], is_there: bool) -> None:
    """Programs of old leave them out or write 0; the other tags say as much."""
    samples = in_kind("u2")
    data = bytearray(tiff(samples, **options))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags[325 if "tile" in options else 279]
    if is_there:
        data[tag.valueoffset : tag.valueoffset + tag.valuebytecount] = bytes(tag.valuebytecount)
    else:
        struct.pack_into("<H", data, tag.offset, 65_000)
    assert differs(bytes(data), expected(samples)) <= 0.5


def test_grey_that_was_multiplied_by_its_alpha_is_taken_as_it_is() -> None:
    grey = np.rint(PICTURE * 255).astype(np.uint8)
    alpha = np.full_like(grey, 255)
    alpha[:20], grey[:20] = 128, grey[:20] // 2
    out = io.BytesIO()
    both = np.stack([grey, alpha], -1)
    tifffile.imwrite(out, both, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"])
    assert np.array_equal(np.asarray(decode(out.getvalue(), 64)), grey)
