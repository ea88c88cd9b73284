"""The texts of libjpeg and Pillow that decoding depends on, as the installed versions say them."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image, PngImagePlugin, TiffImagePlugin

from shared.images.decoder_texts import has_sixteen_bit_samples, tells_of_damage
from shared.images.preprocess import decode

SIDE = 256
GREY = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (8, 9, 3)).astype(np.uint16)


def jpeg(**options: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "JPEG", **options)
    return out.getvalue()


WHOLE = jpeg()
HALF = len(WHOLE) // 2
SCANS = jpeg(progressive=True)  # in a single scan the fast decoder takes such a code for a zero
RESTARTS = jpeg(restart_marker_blocks=16)
DAMAGED = {
    "Premature end of JPEG file": WHOLE[:HALF],
    "Corrupt JPEG data: premature end of data segment": WHOLE[:HALF] + b"\xff\xd9",
    "Corrupt JPEG data: 2 extraneous bytes before marker 0xe0": WHOLE[:2] + b"\x12\x34" + WHOLE[2:],
    "Corrupt JPEG data: bad Huffman code": SCANS[: len(SCANS) // 2] + b"\xff\x00" * 60 + SCANS[len(SCANS) // 2 :],
    "Corrupt JPEG data: found marker 0xd5 instead of RST1": RESTARTS.replace(b"\xff\xd1", b"\xff\xd5", 1),
}


def message(data: bytes) -> ValueError:
    with pytest.raises(ValueError, match=r".") as raised:
        simplejpeg.decode_jpeg(data, "GRAY", strict=True)
    return raised.value


@pytest.mark.parametrize("text", DAMAGED)
def test_libjpeg_says_of_damage_what_is_looked_for(text: str) -> None:
    error = message(DAMAGED[text])
    assert str(error) == text
    assert tells_of_damage(error)


def test_what_libjpeg_cannot_read_is_not_called_damage() -> None:
    frame = WHOLE.index(b"\xff\xc0")
    for kind in (0xC3, 0xC5, 0xCB):  # lossless, differential, lossless by arithmetic coding (ITU-T T.81, table B.1)
        assert not tells_of_damage(message(WHOLE[: frame + 1] + bytes([kind]) + WHOLE[frame + 2 :]))


def sixteen_bits(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, PngImagePlugin.PngImageFile | TiffImagePlugin.TiffImageFile)
        return has_sixteen_bit_samples(image)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_sixteen_bits_in_a_png_are_told_from_those_of_eight(channels: int) -> None:
    samples = np.resize(DEEP, (8, 9, channels))
    assert sixteen_bits(imagecodecs.png_encode(samples))
    assert not sixteen_bits(imagecodecs.png_encode(samples.astype(np.uint8)))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colours_of_sixteen_bits_in_a_tiff_are_told_from_those_of_eight(
    byteorder: str, compression: str | None
) -> None:
    def encoded(samples: np.ndarray) -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, samples, byteorder=byteorder, compression=compression, photometric="rgb")
        return out.getvalue()

    assert sixteen_bits(encoded(DEEP))
    assert not sixteen_bits(encoded(DEEP.astype(np.uint8)))


def bmp_of_sixteen_bits(red: int, green: int, blue: int) -> bytes:
    """A BMP whose pixels, not samples, have 16 bits: 5, 6 and 5 of them (BITMAPV2INFOHEADER, BI_BITFIELDS)."""
    pixels = struct.pack("<H", red << 11 | green << 5 | blue) * 64 * 64
    head = struct.pack("<IiiHHIIiiIIIII", 52, 64, 64, 1, 16, 3, len(pixels), 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def test_a_dark_bmp_whose_pixels_have_sixteen_bits_is_no_deep_colour() -> None:
    pixels = bytearray(bmp_of_sixteen_bits(2, 4, 2))
    for at in range(len(pixels) - 64 * 64, len(pixels)):
        pixels[at] = 0
    grey = np.asarray(decode(bytes(pixels), 64))
    assert (grey.min(), grey.max()) == (0, 16)
