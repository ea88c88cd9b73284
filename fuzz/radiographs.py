"""Hostile DICOM: values that contradict the pixels, wrong lengths, sequences that do not end."""

import io
import random
import struct
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
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

from fuzz import damage

_SIDES: Final = (0, 1, 2, 63, 64, 1000, 6300, 20_000, 65_535)
_WORDS: Final = ("", "MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL_422", "1.2.840", "CT", "9" * 70, "-1", "nan")
_NUMBERS: Final = (0, 1, 2, 7, 8, 9, 15, 16, 17, 32, 33, 64, 255, 65_535)
_TAGS: Final[dict[str, Sequence[object]]] = {
    "Rows": _SIDES, "Columns": _SIDES, "BitsAllocated": _NUMBERS, "BitsStored": _NUMBERS, "HighBit": _NUMBERS,
    "PixelRepresentation": (0, 1, 2), "SamplesPerPixel": (0, 1, 3, 4), "PhotometricInterpretation": _WORDS,
    "NumberOfFrames": ("0", "1", "2", "100000", "-1", "x"), "Modality": ("CR", "DX", "CT", "", "X" * 90),
    "PlanarConfiguration": (0, 1, 7), "WindowCenter": ("0", "nan", "1e308", "-1e308", "x", "1\\2"),
    "WindowWidth": ("0", "1", "nan", "1e308", "-5", "1\\2", "3,00"), "RescaleSlope": ("0", "nan", "inf", "1e300", "x"),
    "RescaleIntercept": ("0", "nan", "-inf", "1e300"), "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "X"),
    "PixelPaddingValue": (0, 1, 4095, 65_535), "PixelPaddingRangeLimit": (0, 40, 4095, 65_535),
    "PixelAspectRatio": ("1\\2", "0\\1", "1000\\1", "-1\\1", "x"), "PixelSpacing": ("0.1\\0.3", "1e9\\1", "0\\0", ""),
    "PresentationLUTShape": ("INVERSE", "IDENTITY", "LIN OD"),
    "SpecificCharacterSet": ("ISO_IR 192", "ISO 2022 IR 87", "nonsense"),
    "PatientName": ("\x1b$B^\x1b(J", "A" * 9000),
}  # fmt: skip

Attack = Callable[[bytes, random.Random], bytes]


def draw_radiograph(image: Image.Image, syntax: UID, **tags: object) -> bytes:
    """Write an image as a DICOM radiograph in a transfer syntax; arrays of `image` are uint8 or uint16 (H, W)."""
    samples = np.asarray(image)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = samples.shape
    dataset.BitsAllocated = dataset.BitsStored = samples.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    _put_pixels(dataset, image, syntax)
    for name, value in tags.items():
        setattr(dataset, name, value)
    return _save(dataset)


COMPRESSIONS: Final[dict[UID, Callable[[np.ndarray], Any]]] = {
    JPEGBaseline8Bit: lambda samples: imagecodecs.jpeg_encode(samples, level=90),
    JPEGExtended12Bit: lambda samples: imagecodecs.jpeg_encode(samples, level=90, bitspersample=12),
    JPEGLossless: lambda samples: imagecodecs.jpeg_encode(samples, lossless=True, predictor=6),
    JPEGLosslessSV1: lambda samples: imagecodecs.jpeg_encode(samples, lossless=True, predictor=1),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLSNearLossless: lambda samples: imagecodecs.jpegls_encode(samples, level=2),
    JPEG2000: lambda samples: imagecodecs.jpeg2k_encode(samples, codecformat="j2k", level=60),
    JPEG2000Lossless: lambda samples: imagecodecs.jpeg2k_encode(samples, reversible=True),
    HTJ2K: imagecodecs.htj2k_encode,
    HTJ2KLossless: imagecodecs.htj2k_encode,
}


def _put_pixels(dataset: Dataset, image: Image.Image, syntax: UID) -> None:
    if syntax in COMPRESSIONS:
        dataset.PixelData = encapsulate([bytes(COMPRESSIONS[syntax](np.asarray(image)))])
        dataset["PixelData"].VR = "OB"
        return
    dataset.PixelData = np.asarray(image).tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)


def _save(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _read(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data), force=True)


def set_tags(data: bytes, rng: random.Random) -> bytes:
    """Set one to three elements to values at and beyond their edges."""
    dataset = _read(data)
    for name in rng.sample(sorted(_TAGS), rng.randint(1, 3)):
        _put(dataset, name, rng.choice(_TAGS[name]))
    return _save(dataset)


def _put(dataset: Dataset, name: str, value: object) -> None:
    """Set an element; text is written unchanged even where its VR does not allow it."""
    if not isinstance(value, str):
        representation = dictionary_VR(Tag(name))
        dataset.add_new(Tag(name), "US" if " or " in representation else representation, value)
        return
    tag, text = Tag(name), value.encode("latin-1")
    text += b" " * (len(text) % 2)
    dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(text), text, 0, False, True)


def drop_tags(data: bytes, rng: random.Random) -> bytes:
    """Remove one to three elements, also from the file meta information."""
    dataset = _read(data)
    for name in rng.sample(sorted(_TAGS), rng.randint(1, 3)):
        if name in dataset:
            delattr(dataset, name)
    if rng.random() < 0.2:
        dataset.pop("PixelData", None)
    return _save(dataset)


def look_up(data: bytes, rng: random.Random) -> bytes:
    """Add a modality or VOI table whose descriptor contradicts its data."""
    dataset = _read(data)
    table = Dataset()
    bits = rng.choice((0, 1, 7, 8, 12, 16, 17, 64))
    table.LUTDescriptor = [rng.choice((0, 1, 256, 4096, 65_535)), rng.choice((0, 1, 65_535)), bits]
    table.add_new("LUTData", "OW", rng.randbytes(2 * rng.choice((0, 1, 255, 256, 4096))))
    name = rng.choice(("ModalityLUTSequence", "VOILUTSequence"))
    setattr(dataset, name, Items([table] * rng.choice((0, 1, 2))))
    return _save(dataset)


def encapsulate_other(_data: bytes, rng: random.Random) -> bytes:
    """Put an image of another size, format or number of frames where the pixels belong."""
    dataset = _read(draw_radiograph(Image.new("L", (300, 200)), JPEGBaseline8Bit))
    size = rng.choice(((32, 32), (300, 200), (3000, 3000)))
    kind, progressive = rng.choice(("JPEG", "JPEG2000", "PNG", "GIF")), rng.random() < 0.5
    if kind == "JPEG2000":
        size = (min(size[0], 600), min(size[1], 600))  # larger ones take seconds to write
    out = io.BytesIO()
    Image.new(rng.choice(("L", "RGB")), size, 90).save(
        out, kind, **({"progressive": True} if progressive and kind == "JPEG" else {})
    )
    dataset.file_meta.TransferSyntaxUID = rng.choice((*COMPRESSIONS, RLELossless))
    dataset.PixelData = encapsulate([out.getvalue()] * rng.choice((1, 1, 3)), has_bot=rng.random() < 0.5)
    dataset["PixelData"].VR = "OB"
    return _save(dataset)


def nest_sequences(data: bytes, rng: random.Random) -> bytes:
    """Nest sequences of undefined length more deeply than any reader allows, and close some of them."""
    depth = rng.choice((2, 30, 400, 3000))
    syntax = ImplicitVRLittleEndian if rng.random() < 0.5 else ExplicitVRLittleEndian
    opening = struct.pack("<HHI", 0x0008, 0x1140, 0xFFFF_FFFF)
    if syntax == ExplicitVRLittleEndian:
        opening = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFF_FFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFF_FFFF)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    head = draw_radiograph(Image.new("L", (64, 64)), syntax)
    place = head.find(struct.pack("<HH", 0x0008, 0x0060))
    return head[:place] + (opening + item) * depth + ends * rng.randint(0, depth) + head[place:] + data[-64:]


def lie_in_lengths(data: bytes, rng: random.Random) -> bytes:
    """Overwrite the length of an element, found by its value representation, with an edge value."""
    found = bytearray(data)
    marks = [at for at in range(132, min(len(found), 4000)) if bytes(found[at : at + 2]) in _REPRESENTATIONS]
    for place in rng.sample(marks, min(len(marks), rng.randint(1, 3))):
        value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0xFFFF_FFFE, 0xFFFF_FFFF))
        width = rng.choice((2, 6))
        found[place + 2 : place + 2 + width] = struct.pack("<Q", value)[:width]
    return bytes(found)


def damage_frame(data: bytes, rng: random.Random) -> bytes:
    """Damage the compressed frame only; nine times in ten its end marker is restored, so that a decoder reads it."""
    dataset = _read(data)
    if dataset.file_meta.TransferSyntaxUID not in COMPRESSIONS:
        dataset = _read(draw_radiograph(_noise(rng), rng.choice([*COMPRESSIONS])))
    frame = damage.damage(get_frame(dataset.PixelData, 0, number_of_frames=1), rng)
    dataset.PixelData = encapsulate([frame + b"\xff\xd9" if rng.random() < 0.9 else frame or b"\0"])
    return _save(dataset)


def _noise(rng: random.Random) -> Image.Image:
    samples = np.frombuffer(rng.randbytes(2 * 72 * 64), np.uint16).reshape(72, 64)
    return Image.fromarray(samples >> 4)


def lie_in_frame(data: bytes, rng: random.Random) -> bytes:
    """Write edge values into the first bytes of the compressed frame, and the same size into the header."""
    dataset = _read(data)
    if dataset.file_meta.TransferSyntaxUID not in COMPRESSIONS:
        dataset = _read(draw_radiograph(_noise(rng), rng.choice([*COMPRESSIONS])))
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    for marker, at in ((b"\xff\xf7", 5), (b"\xff\xc0", 5), (b"\xff\xc1", 5), (b"\xff\xc3", 5), (b"\xff\x51", 6)):
        place = frame.find(marker, 0, 300)
        if place >= 0:
            width = 4 if marker == b"\xff\x51" else 2
            across, down = rng.choice(_SIDES), rng.choice(_SIDES)
            sides = (across, down) if width == 4 else (down, across)
            frame[place + at : place + at + 2 * width] = b"".join(side.to_bytes(width, "big") for side in sides)
            dataset.Rows, dataset.Columns = down, across
    dataset.PixelData = encapsulate([bytes(frame)])
    return _save(dataset)


def deflate(data: bytes, rng: random.Random) -> bytes:
    """Deflate a radiograph, sometimes with far more data than an image has, and damage the result."""
    dataset = _read(draw_radiograph(Image.new("L", (300, 200), 90), DeflatedExplicitVRLittleEndian))
    if rng.random() < 0.3:
        dataset.PixelData = bytes(rng.choice((1_000_000, 300_000_000)))
    saved = bytearray(_save(dataset))
    if rng.random() < 0.5:
        saved[400:] = damage.damage(bytes(saved[400:]), rng)
    return bytes(saved) + data[-64:] * rng.randrange(2)


def strip_headers(data: bytes, rng: random.Random) -> bytes:
    """Remove the preamble, and sometimes the meta information."""
    length = int.from_bytes(data[140:144], "little")
    return data[rng.choice((132, 144 + length)) :]


_REPRESENTATIONS: Final = {b"US", b"CS", b"UI", b"OW", b"OB", b"SQ", b"DS", b"IS", b"UL", b"LO", b"PN", b"UN"}
_ATTACKS: Final[Sequence[Attack]] = (
    set_tags, set_tags, drop_tags, look_up, encapsulate_other, nest_sequences, lie_in_lengths,
    damage_frame, damage_frame, damage_frame, lie_in_frame, deflate, strip_headers,
)  # fmt: skip


def attack(data: bytes, rng: random.Random) -> bytes:
    """Make one hostile radiograph from a valid one."""
    chosen = rng.choice(_ATTACKS)
    config.settings.writing_validation_mode = config.IGNORE
    config.settings.reading_validation_mode = config.IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each of these is malformed on purpose
        return chosen(data, rng)
