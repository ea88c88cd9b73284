"""Every transfer syntax of DICOM that is read gives the samples that were put in, or is refused with a code."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

from shared.errors import ImageRejected
from shared.images import dicom_file
from shared.images.dicom_file import read
from shared.images.dicom_samples import TRANSFER_SYNTAXES, stored_samples
from shared.images.jpeg_lossless import is_damaged
from shared.images.preprocess import decode
from shared.refusals import Rejection
from tests.conftest import draw, encode

MIB = 1024 * 1024
GREY8 = np.asarray(draw(1, (96, 80)))
GREY12 = GREY8.astype(np.uint16) * 15 + np.arange(96, dtype=np.uint16)
GREY16 = GREY8.astype(np.uint16) * 250
SIGNED = GREY12.astype(np.int16) - 2000


def lossless(samples: np.ndarray, bits: int, predictor: int) -> bytes:
    return imagecodecs.jpeg_encode(samples, lossless=True, bitspersample=bits, predictor=predictor)


def j2k(samples: np.ndarray, **options: object) -> bytes:
    return imagecodecs.jpeg2k_encode(samples, codecformat="j2k", **options)


# What is put in, how it is encoded, how far a sample may be off.
FRAMES: dict[str, tuple[str, np.ndarray, Callable[[np.ndarray], bytes], int]] = {
    "baseline": (JPEGBaseline8Bit, GREY8, lambda s: imagecodecs.jpeg_encode(s, level=98), 6),
    "extended 8": (JPEGExtended12Bit, GREY8, lambda s: imagecodecs.jpeg_encode(s, level=98), 6),
    "extended 12": (JPEGExtended12Bit, GREY12, lambda s: imagecodecs.jpeg_encode(s, level=99, bitspersample=12), 40),
    "lossless 8": (JPEGLosslessSV1, GREY8, lambda s: lossless(s, 8, 1), 0),
    "lossless 12": (JPEGLosslessSV1, GREY12, lambda s: lossless(s, 12, 1), 0),
    "lossless 16": (JPEGLosslessSV1, GREY16, lambda s: lossless(s, 16, 1), 0),
    **{
        f"lossless 12, predictor {number}": (JPEGLossless, GREY12, lambda s, n=number: lossless(s, 12, n), 0)
        for number in range(2, 8)
    },
    "ls 8": (JPEGLSLossless, GREY8, imagecodecs.jpegls_encode, 0),
    "ls 12": (JPEGLSLossless, GREY12, imagecodecs.jpegls_encode, 0),
    "ls near": (JPEGLSNearLossless, GREY12, lambda s: imagecodecs.jpegls_encode(s, level=3), 3),
    "2000 8": (JPEG2000Lossless, GREY8, lambda s: j2k(s, reversible=True), 0),
    "2000 12": (JPEG2000Lossless, GREY12, lambda s: j2k(s, reversible=True, bitspersample=12), 0),
    "2000 signed": (JPEG2000Lossless, SIGNED, lambda s: j2k(s, reversible=True), 0),
    "2000 lossy": (JPEG2000, GREY12, lambda s: j2k(s, level=70, bitspersample=12), 40),
    "2000 in a file": (JPEG2000Lossless, GREY12, lambda s: imagecodecs.jpeg2k_encode(s, reversible=True), 0),
    "htj2k 8": (HTJ2KLossless, GREY8, imagecodecs.htj2k_encode, 0),
    "htj2k 12": (HTJ2KLossless, GREY12, imagecodecs.htj2k_encode, 0),
    "htj2k rpcl": (HTJ2KLosslessRPCL, GREY12, imagecodecs.htj2k_encode, 0),
    "htj2k any": (HTJ2K, GREY12, imagecodecs.htj2k_encode, 0),
    # Unsigned to the codec, and signed to the dataset.
    "lossless signed": (JPEGLosslessSV1, SIGNED, lambda s: lossless(s.view(np.uint16), 16, 1), 0),
    "ls signed in 12 bits": (JPEGLSLossless, SIGNED, lambda s: imagecodecs.jpegls_encode(s.view(np.uint16) & 0xFFF), 0),
}


NATIVE = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
)  # fmt: skip


def make(samples: np.ndarray, syntax: str, frame: bytes | None = None, **tags: object) -> bytes:
    """Write a radiograph; `frame` is its encapsulated image."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = samples.shape
    dataset.BitsAllocated = samples.dtype.itemsize * 8
    dataset.BitsStored = 12 if samples.dtype.itemsize == 2 and int(samples.max()) < 4096 else dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(samples.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    native = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = native if frame is None else encapsulate([frame])
    dataset["PixelData"].VR = "OW" if frame is None and samples.dtype.itemsize == 2 else "OB"
    for name, value in tags.items():
        setattr(dataset, name, value)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def samples_of(data: bytes) -> np.ndarray:
    return stored_samples(read(io.BytesIO(data), stop_before_pixels=False))


@pytest.mark.parametrize("name", FRAMES)
def test_a_compressed_frame_gives_the_samples_that_were_put_in(name: str) -> None:
    syntax, samples, compress, tolerance = FRAMES[name]
    found = samples_of(make(samples, syntax, compress(samples)))
    assert found.dtype == samples.dtype
    assert found.shape == samples.shape
    assert np.abs(found.astype(int) - samples).max() <= tolerance


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("samples", [GREY8, GREY12, SIGNED], ids=["8", "12", "signed"])
def test_a_native_or_rle_image_gives_the_samples_that_were_put_in(syntax: str, samples: np.ndarray) -> None:
    found = samples_of(make(samples, syntax))
    assert (found.dtype.kind, found.dtype.itemsize) == (samples.dtype.kind, samples.dtype.itemsize)
    assert np.array_equal(found, samples)


def test_every_syntax_that_is_read_is_tried_here() -> None:
    assert TRANSFER_SYNTAXES.keys() == {*map(str, NATIVE), *(str(frame[0]) for frame in FRAMES.values())}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_another_size_than_the_header_says_is_refused_before_it_is_decoded(name: str) -> None:
    syntax, samples, compress, _ = FRAMES[name]
    frame = compress(samples)
    for tags in ({"Rows": 81}, {"Columns": 40}):
        with pytest.raises(ImageRejected) as refused:
            decode(make(samples, syntax, frame, **tags), 64)
        assert refused.value.code is Rejection.UNREADABLE_IMAGE


@pytest.mark.parametrize("name", [name for name in FRAMES if name != "2000 in a file"])
def test_a_frame_without_an_end_is_refused(name: str) -> None:
    syntax, samples, compress, _ = FRAMES[name]
    frame = compress(samples)
    with pytest.raises(ImageRejected) as refused:
        decode(make(samples, syntax, frame[: len(frame) // 2]), 64)
    assert refused.value.code in {Rejection.TRUNCATED_IMAGE, Rejection.DAMAGED_SCAN}


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        pytest.param(JPEGLSLossless, lossless(GREY12, 12, 1), id="jpeg as jpeg-ls"),
        pytest.param(JPEGLossless, imagecodecs.jpegls_encode(GREY12), id="jpeg-ls as jpeg"),
        pytest.param(JPEG2000, imagecodecs.jpegls_encode(GREY12), id="jpeg-ls as jpeg 2000"),
        pytest.param(JPEGBaseline8Bit, encode(draw(1, (96, 80)).convert("RGB")), id="three components"),
        pytest.param(JPEGBaseline8Bit, b"\xff\xd8\xff\xd9", id="no frame header"),
        pytest.param(JPEG2000, b"\xff\x4f\xff\x51\0", id="no image size"),
    ],
)
def test_a_frame_that_is_not_what_the_header_says_is_refused(syntax: str, frame: bytes) -> None:
    with pytest.raises(ImageRejected) as refused:
        decode(make(GREY12, syntax, frame), 64)
    assert refused.value.code is Rejection.UNREADABLE_IMAGE


def test_sixteen_bits_in_a_file_of_eight_are_refused() -> None:
    with pytest.raises(ImageRejected):
        decode(make(GREY8, JPEGLSLossless, imagecodecs.jpegls_encode(GREY16)), 64)


@pytest.mark.parametrize("name", ["baseline", "lossless 8", "lossless 12", "lossless 16", "lossless 12, predictor 7"])
def test_a_damaged_scan_is_refused_though_it_can_be_decoded(name: str) -> None:
    syntax, samples, compress, _ = FRAMES[name]
    frame = bytearray(compress(samples))
    place = len(frame) * 2 // 3
    frame[place : place + 40] = bytes(40)
    with pytest.raises(ImageRejected) as refused:
        decode(make(samples, syntax, bytes(frame)), 64)
    assert refused.value.code is Rejection.DAMAGED_SCAN


def test_the_bits_of_a_lossless_scan_are_those_of_its_samples() -> None:
    frame = lossless(GREY12, 12, 1)
    assert not is_damaged(frame, GREY12)
    changed = GREY12.copy()
    changed[40:, 50] += 900
    assert is_damaged(frame, changed)


def test_padding_before_the_end_marker_of_jpeg_ls_is_no_damage() -> None:
    frame = imagecodecs.jpegls_encode(GREY12)
    padded = frame[:-2] + b"\0" + frame[-2:]
    assert np.array_equal(samples_of(make(GREY12, JPEGLSLossless, padded)), GREY12)


# ---------------------------------------------------------------- headers


def test_a_file_without_a_preamble_is_read() -> None:
    data = make(GREY12, ExplicitVRLittleEndian)
    assert decode(data[132:], 64).tobytes() == decode(data, 64).tobytes()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_dataset_without_meta_information_is_read(syntax: str) -> None:
    data = make(GREY12, syntax)
    start = data.index(b"\x08\x00\x16\x00", 200)  # SOP Class UID, the first element of the dataset
    assert decode(data[start:], 64).tobytes() == decode(data, 64).tobytes()


def with_long_syntax(data: bytes) -> bytes:
    """Fill the transfer syntax up with two zeros, as no writer does; its group is then longer than it says."""
    name = b"1.2.840.10008.1.2.1.99"
    return data.replace(struct.pack("<H", len(name)) + name, struct.pack("<H", len(name) + 2) + name + b"\0\0", 1)


@pytest.mark.parametrize(
    "change",
    [lambda data: data, lambda data: data[:132] + data[144:], with_long_syntax],
    ids=["plain", "without a length", "padded"],
)
@pytest.mark.parametrize("stop", [True, False], ids=["header", "pixels"])
def test_a_deflated_file_is_unpacked_within_a_bound(monkeypatch: pytest.MonkeyPatch, stop: bool, change) -> None:
    for name in ("_MOST_INFLATED_BYTES", "_MOST_HEADER_BYTES"):
        monkeypatch.setattr(dicom_file, name, MIB * (8 if "INFLATED" in name else 2))
    data = make(GREY12, DeflatedExplicitVRLittleEndian)
    plain = zlib.decompress(zlib_of(data), -15)
    packer = zlib.compressobj(1, wbits=-15)
    bomb = packer.compress(plain + bytes(80 * MIB)) + packer.flush()
    file = io.BytesIO(change(data.replace(zlib_of(data), bomb)))
    tracemalloc.start()
    if stop:
        assert read(file, stop_before_pixels=True).Rows == 80
    else:
        with pytest.raises(ImageRejected) as refused:
            read(file, stop_before_pixels=False)
        assert refused.value.code is Rejection.TOO_LARGE
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < (8 if stop else 24) * MIB


def zlib_of(data: bytes) -> bytes:
    """Return what is deflated of a file: all behind its meta information."""
    length = int.from_bytes(data[140:144], "little")
    return data[144 + length :]


@pytest.mark.parametrize("modality", ["cr", "Dx", "DX ", "RG"])
def test_a_modality_is_known_in_any_spelling(modality: str) -> None:
    assert decode(make(GREY8, ExplicitVRLittleEndian, Modality=modality), 64).size == (96, 80)


def test_pydicom_agrees_with_every_native_file() -> None:
    data = make(GREY12, ImplicitVRLittleEndian)
    assert np.array_equal(samples_of(data), dcmread(io.BytesIO(data)).pixel_array)


@pytest.mark.parametrize("level", [0.001, 0.1])
def test_a_lossy_htj2k_frame_stays_white_where_it_goes_beyond_white(level: float) -> None:
    rng = np.random.default_rng(0)
    samples = (np.cumsum(rng.integers(-3, 4, (300, 200)), 1) * 20 + 3000).clip(0, 4000).astype(np.uint8)
    frame = imagecodecs.htj2k_encode(samples, level=level, reversible=False)
    assert np.abs(samples_of(make(samples, HTJ2K, frame)).astype(int) - samples).max() < 60


def test_damage_to_a_jpeg_ls_frame_is_seen() -> None:
    rng, seen = np.random.default_rng(1), 0
    for _ in range(20):
        frame = bytearray(imagecodecs.jpegls_encode(GREY12))
        place = int(rng.integers(len(frame) // 4, len(frame) - 60))
        frame[place : place + 40] = rng.bytes(40)
        try:
            samples_of(make(GREY12, JPEGLSLossless, bytes(frame)))
        except ImageRejected:
            seen += 1
    assert seen >= 18


def rewritten(data: bytes, pixels: bytes) -> bytes:
    dataset = dcmread(io.BytesIO(data))
    dataset.PixelData = pixels
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize("has_table", [True, False], ids=["with offsets", "without"])
@pytest.mark.parametrize("name", ["baseline", "lossless 12", "ls 12", "2000 12", "htj2k 12"])
def test_frames_that_the_header_does_not_count_are_refused(name: str, has_table: bool) -> None:
    syntax, samples, compress, _ = FRAMES[name]
    frame = compress(samples)
    data = rewritten(make(samples, syntax, frame), encapsulate([frame, frame], has_bot=has_table))
    with pytest.raises(ImageRejected) as refused:
        samples_of(data)
    assert refused.value.code is Rejection.SEVERAL_IMAGES


def test_rle_samples_that_read_like_the_start_of_another_frame_are_samples() -> None:
    """RLE writes unlike neighbours as they are, so that markers of JPEG may stand among them."""
    samples = np.tile(np.arange(64, dtype=np.uint8), (64, 1))
    samples[32, 8:13] = (0xFF, 0xD9, 0xFF, 0xD8, 0xFF)
    data = make(samples, RLELossless)
    assert b"\xff\xd9\xff\xd8\xff" in data
    assert np.array_equal(samples_of(data), samples)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_native_and_rle_frames_that_the_header_does_not_count_are_refused(syntax: str) -> None:
    data = make(GREY12, syntax)
    pixels = dcmread(io.BytesIO(data)).PixelData
    frames = encapsulate([get_frame(pixels, 0, number_of_frames=1)] * 2) if syntax == RLELossless else pixels * 2
    with pytest.raises(ImageRejected) as refused:
        samples_of(rewritten(data, frames))
    assert refused.value.code is Rejection.SEVERAL_IMAGES


def test_a_frame_in_several_fragments_is_one() -> None:
    frame = imagecodecs.jpegls_encode(GREY12)
    data = rewritten(make(GREY12, JPEGLSLossless, frame), encapsulate([frame], fragments_per_frame=3))
    assert np.array_equal(samples_of(data), GREY12)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEGLosslessSV1])
def test_a_codestream_keeps_no_overlay_above_the_bits_stored(syntax: str) -> None:
    marked = GREY12 | (np.uint16(0x8000) * (GREY12 > 2000)).astype(np.uint16)
    compress = imagecodecs.jpegls_encode if syntax == JPEGLSLossless else lambda samples: lossless(samples, 16, 1)
    assert np.array_equal(samples_of(make(marked, syntax, compress(marked), BitsStored=12, HighBit=11)), GREY12)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    ("syntax", "compress"),
    [
        (JPEGLosslessSV1, lambda samples: lossless(samples & 8191, 13, 1)),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEG2000Lossless, lambda samples: j2k(samples, reversible=True, level=0)),
    ],
    ids=["JPEG Lossless", "JPEG-LS", "JPEG 2000"],
)
def test_samples_of_more_bits_than_the_header_says_are_refused_and_not_wrapped(syntax: str, compress, signed) -> None:
    wide = (GREY12.astype(np.int32) * 2 - 4096 * signed).astype(np.uint16)
    data = make(wide, syntax, compress(wide), BitsStored=12, HighBit=11, PixelRepresentation=signed)
    with pytest.raises(ImageRejected) as refused:
        samples_of(data)
    assert refused.value.details["case"] == "stored_bits"


@pytest.mark.parametrize("stored", [13, 14, 16])
@pytest.mark.parametrize(
    ("samples", "held"),
    [(GREY12, GREY12), (SIGNED, SIGNED.astype(np.uint16) & 4095), (GREY8.astype(np.uint16), GREY8)],
    ids=["no sign", "sign in bit 11", "8 bits"],
)
def test_the_highest_bit_of_a_frame_of_fewer_bits_is_a_sign_where_its_samples_would_wrap_without(
    samples: np.ndarray, held: np.ndarray, stored: int
) -> None:
    frame = lossless(held, 8 if held.dtype == np.uint8 else 12, 1)
    tags = {"PixelRepresentation": 1, "BitsStored": stored, "HighBit": stored - 1}
    assert np.array_equal(samples_of(make(samples, JPEGLosslessSV1, frame, **tags)), samples)


def test_meta_information_without_its_length_is_read() -> None:
    data = make(GREY12, ExplicitVRLittleEndian)
    assert decode(data[132 + 12 :], 64).tobytes() == decode(data, 64).tobytes()


NEAR_ZERO = GREY12.astype(np.int16) - GREY12.min()
BEYOND_HALF = NEAR_ZERO.astype(np.uint16)
LOSSY = encode_array(NEAR_ZERO, bits_stored=13, photometric_interpretation=2, signal_noise_ratios=[50])


@pytest.mark.parametrize(
    ("coded", "frame", "tolerance"),
    [
        pytest.param(NEAR_ZERO, LOSSY, 130, id="signed and lossy in an unsigned dataset"),
        pytest.param(SIGNED, j2k(SIGNED, reversible=True), 0, id="signed in an unsigned dataset"),
        pytest.param(
            BEYOND_HALF, j2k(BEYOND_HALF, reversible=True, bitspersample=12), 0, id="unsigned in a signed dataset"
        ),
    ],
)
def test_the_sign_of_a_jpeg_2000_frame_counts_where_its_samples_would_wrap_without(
    coded: np.ndarray, frame: bytes, tolerance: int
) -> None:
    sign = int(coded.dtype.kind == "u")
    data = make(coded, JPEG2000, frame, PixelRepresentation=sign, BitsStored=12, HighBit=11)
    dataset = read(io.BytesIO(data), stop_before_pixels=False)
    found = stored_samples(dataset)
    assert np.abs(found.astype(int) - coded).max() <= tolerance
    assert dataset.PixelRepresentation == 1 - sign
    plain = make(coded, ExplicitVRLittleEndian, BitsStored=16, HighBit=15)
    shown = np.asarray(decode(data, 64)).astype(int)
    assert np.abs(shown - np.asarray(decode(plain, 64))).max() <= tolerance / 10


@pytest.mark.parametrize("coded", [SIGNED, BEYOND_HALF], ids=["signed", "unsigned"])
def test_the_sign_of_the_dataset_counts_where_a_jpeg_2000_frame_holds_its_bits_under_the_other(
    coded: np.ndarray,
) -> None:
    bits = coded.view(np.int16 if coded.dtype.kind == "u" else np.uint16)
    if coded.dtype.kind == "u":
        bits = (bits << 4) >> 4  # 12 bits, the highest of them the sign
    frame = j2k(bits & 0xFFF if bits.dtype.kind == "u" else bits, reversible=True, bitspersample=12)
    data = make(coded, JPEG2000Lossless, frame, BitsStored=12, HighBit=11)
    assert np.array_equal(samples_of(data), coded)


@pytest.mark.parametrize("name", ["baseline", "lossless 12", "ls 12"])
def test_a_frame_that_tells_its_height_behind_its_scan_is_read(name: str) -> None:
    syntax, samples, compress, _ = FRAMES[name]
    frame = compress(samples)
    rows = struct.pack(">H", len(samples))
    place = min(at for sign in (b"\xff\xc0", b"\xff\xc3", b"\xff\xf7") if (at := frame.find(sign)) > 0) + 5
    late = frame[:place] + bytes(2) + frame[place + 2 : -2] + b"\xff\xdc\0\4" + rows + frame[-2:]
    assert np.array_equal(samples_of(make(samples, syntax, late)), samples_of(make(samples, syntax, frame)))
