"""JPEG files: what is sound is decoded at any size that is asked for, what has lost pixels is refused."""

import struct

import imagecodecs
import numpy as np
import pytest

from shared.errors import ImageRejected
from shared.images import jpeg
from shared.images.codestreams import END, CodestreamDamaged, read_jpeg
from shared.images.preprocess import decode
from shared.refusals import Rejection
from tests.conftest import draw, encode

SIZE = (700, 600)
WHOLE = 10**6
GREY = np.asarray(draw(4, SIZE))
PLAIN = encode(draw(4, SIZE), quality=90)
COLOUR = encode(draw(4, SIZE).convert("RGB"), quality=90)
LOSSLESS = imagecodecs.jpeg_encode(GREY, lossless=True, bitspersample=8, predictor=1)
DEEP = imagecodecs.jpeg_encode(GREY.astype(np.uint16) * 16, level=95, bitspersample=12)
JFIF_BYTES = 20
"""Of the start of image and the JFIF segment, with which Pillow's files begin."""


def with_segment(data: bytes, segment: bytes) -> bytes:
    return data[:JFIF_BYTES] + segment + data[JFIF_BYTES:]


def with_byte(data: bytes, place: int, value: int) -> bytes:
    return data[:place] + bytes([value]) + data[place + 1 :]


def icc_part(number: int, count: int) -> bytes:
    return b"\xff\xe2" + struct.pack(">H", 36) + b"ICC_PROFILE\0" + bytes([number, count]) + bytes(20)


WARNED = {
    "another version of JFIF": with_byte(PLAIN, 11, 2),
    "a transform of Adobe that there is not": with_segment(COLOUR, b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\5"),
    "a sequential scan of no coefficients": with_byte(PLAIN, PLAIN.rfind(b"\xff\xda") + 8, 0),
    "a profile whose second part is missing": with_segment(PLAIN, icc_part(1, 2)),
    "a profile's part 0": with_segment(PLAIN, icc_part(0, 1)),
    "a profile's part twice": with_segment(PLAIN, icc_part(1, 1) * 2),
}


@pytest.mark.parametrize("name", WARNED)
@pytest.mark.parametrize("at_least", [WHOLE, 80])
def test_what_a_decoder_warns_of_without_a_lost_pixel_changes_none(name: str, at_least: int) -> None:
    sound = COLOUR if "Adobe" in name else PLAIN
    assert np.array_equal(decode(WARNED[name], at_least), decode(sound, at_least))


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)].rstrip(b"\xff") + END


def without_some(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + data[middle + 2000 :]


@pytest.mark.parametrize("name", [*WARNED, "12 bits"])
@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda data: cut(data, 0.6), id="cut early"),
        pytest.param(lambda data: cut(data, 0.8), id="cut late"),
        pytest.param(without_some, id="bytes lost"),
    ],
)
def test_lost_pixels_are_seen_whatever_else_is_warned_of(name: str, harm) -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(harm({**WARNED, "12 bits": DEEP}[name]), WHOLE)
    assert refused.value.code is Rejection.DAMAGED_SCAN


def test_a_sound_image_of_12_bits_is_decoded() -> None:
    assert decode(DEEP, WHOLE).size == SIZE


def test_a_progressive_image_without_the_scan_that_others_build_on_is_refused() -> None:
    image = encode(draw(4, SIZE), progressive=True)
    first = image.find(b"\xff\xda")
    with pytest.raises(ImageRejected) as refused:
        decode(image[:first] + image[image.find(b"\xff\xda", first + 2) :], WHOLE)
    assert refused.value.code is Rejection.DAMAGED_SCAN


@pytest.mark.parametrize("colours", ["L", "RGB"])
@pytest.mark.parametrize("missing", ["the last", "all but the first", "one in the middle"])
def test_a_progressive_image_without_some_of_its_scans_is_refused(colours: str, missing: str) -> None:
    """Cut behind a scan and given an end, it is a blurred image of which no decoder complains."""
    image = encode(draw(4, SIZE).convert(colours), progressive=True)
    assert decode(image, WHOLE).size == SIZE
    starts = [at for at in range(len(image)) if image[at : at + 2] == b"\xff\xda"]
    # Of the last scans some are of colours, without which luminance is whole.
    ours = [at for at in starts if image[at + 4 : at + 6] in {b"\1\1", b"\3\1"}]
    if missing == "one in the middle":
        image = image[: ours[1]] + image[ours[2] :]
    else:
        image = image[: ours[1] if missing == "all but the first" else ours[-1]] + END
    with pytest.raises(ImageRejected) as refused:
        decode(image, WHOLE)
    assert refused.value.code is Rejection.DAMAGED_SCAN


@pytest.mark.parametrize("at_least", [64, 80, 160, WHOLE])
def test_a_lossless_image_is_decoded_at_its_full_size_whatever_is_asked_for(at_least: int) -> None:
    """libjpeg-turbo cannot scale one, and wrote all of it into memory for an eighth."""
    assert np.array_equal(decode(LOSSLESS, at_least), GREY)


def test_a_header_that_libjpeg_alone_finds_is_not_decoded_by_another() -> None:
    """libjpeg passes over 0xFF00. Read as a segment, it would hide the lossless header and lead to one in a comment."""
    at = LOSSLESS.find(b"\xff\xc3")
    frame = LOSSLESS[at : at + 2 + 11]
    decoy = b"\xff\xc0" + frame[2:]
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(decoy))
    hidden = b"\xff\x00" + struct.pack(">H", 2 + len(frame) + len(comment)) + frame + comment + decoy
    data = LOSSLESS[:at] + hidden + LOSSLESS[at + len(frame) :]
    with pytest.raises(CodestreamDamaged):
        read_jpeg(data)
    with pytest.raises(ImageRejected):
        jpeg.decode_grey(data, SIZE, 80)


@pytest.mark.parametrize("place", [0.5, 0.7])
def test_a_damaged_lossless_image_is_refused(place: float) -> None:
    at = int(len(LOSSLESS) * place)
    with pytest.raises(ImageRejected) as refused:
        decode(LOSSLESS[:at] + b"\x2a" * 8 + LOSSLESS[at + 8 :], 160)
    assert refused.value.code is Rejection.DAMAGED_SCAN


def test_a_lossless_image_in_colours_is_named() -> None:
    colours = imagecodecs.jpeg_encode(np.dstack([GREY] * 3), lossless=True, bitspersample=8, predictor=1)
    with pytest.raises(ImageRejected) as refused:
        decode(colours, 160)
    assert (refused.value.code, refused.value.details["case"]) == (Rejection.UNSUPPORTED_FORM, "jpeg_colour")
