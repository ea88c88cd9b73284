"""Explain files of unsupported formats and what to do, so that nobody re-copies undamaged files."""

import struct
from typing import IO, Final

from PIL import TiffImagePlugin

from shared.errors import ImageRejected
from shared.images.pages import directories
from shared.refusals import Rejection

# TIFF tag 259; https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml and libtiff's tiff.h.
_READ_COMPRESSIONS: Final = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000}
_COMPRESSIONS: Final = {
    9: "JBIG", 10: "JBIG", 34661: "JBIG", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000",
    34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of raw files", 34933: "PNG", 34934: "JPEG XR",
    22610: "JPEG XR", 48124: "Jetraw", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_KINDS: Final = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_READ_GREY: Final = {*((1, bits) for bits in (1, 2, 4, 8, 12, 16, 32)), (2, 8), (2, 16), (2, 32), (3, 32), (3, 64)}
_READ_COLOURS: Final = {(1, 8), (1, 16)}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _SAMPLE_FORMAT = 256, 257, 258, 259, 277, 339
_PLACES: Final = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles

_BMP_HEADERS: Final = {12, 16, 40, 52, 56, 64, 108, 124}
_BMP_COMPRESSIONS: Final = {
    0: "none", 1: "RLE8", 2: "RLE4", 3: "bit_fields", 4: "JPEG", 5: "PNG", 6: "bit_fields", 11: "CMYK",
}  # fmt: skip

# First bytes of formats that people send by mistake; from each format's own specification.
_OTHER_FORMATS: Final = (
    (0, b"GIF8", "gif"), (0, b"%PDF", "pdf"), (0, b"\x00\x00\x00\x0cjP  ", "jpeg_2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg_2000_stream"), (0, b"\xff\x0a", "jpeg_xl"),
    (0, b"\x00\x00\x00\x0cJXL ", "jpeg_xl"), (4, b"ftypavif", "avif"), (4, b"ftyphei", "heic"),
    (4, b"ftypmif1", "heic"), (0, b"PK\x07\x08", "zip_part"), (0, b"Rar!", "rar"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"), (0, b"\x1f\x8b", "gzip"), (257, b"ustar", "tar"),
    (0, b"MZ", "program"), (0, b"\x7fELF", "program"), (0, b"8BPS", "photoshop"),
    (344, b"n+1\x00", "nifti"), (0, b"\xd0\xcf\x11\xe0", "office"), (0, b"<?xml", "xml"),
    (0, b"<!DOCTYPE", "web_page"), (0, b"<html", "web_page"), (0, b"<svg", "svg"),
)  # fmt: skip
SIGNATURE_BYTES: Final = 352
_SIGNATURES: Final = (
    (b"\x89PNG", "PNG"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"BM", "BMP"),
    (b"RIFF", "WEBP"),
)  # fmt: skip


def kind_of(head: bytes) -> str:
    """Return which of this module's formats a file's first bytes announce; empty for any other."""
    return next((kind for mark, kind in _SIGNATURES if head.startswith(mark)), "")


def name_format(head: bytes) -> str | None:
    """Name an unsupported format, by a word of `refusals.TERMS`, from a file's first SIGNATURE_BYTES.

    None where it is unknown.
    """
    return next((name for at, mark, name in _OTHER_FORMATS if head[at : at + len(mark)] == mark), None)


def refuse_unread_compression(directory: TiffImagePlugin.ImageFileDirectory_v2) -> None:
    """Raise ImageRejected where a page of a TIFF has an unsupported compression."""
    compression = directory.get(_COMPRESSION, 1)
    if isinstance(compression, int) and compression not in _READ_COMPRESSIONS:
        method = _COMPRESSIONS.get(compression, str(compression))
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_compression", method=method)


def explain(file: IO[bytes], kind: str) -> ImageRejected | None:
    """Explain from its structure why Pillow cannot open a file; None where it is damaged.

    `kind` is the format that its first bytes announce.
    """
    try:
        if kind == "TIFF":
            return _explain_tiff(file)
        return _explain_bmp(file) if kind == "BMP" else None
    except ImageRejected as refusal:
        return refusal
    except Exception:  # noqa: BLE001  # Pillow's parsers raise anything on hostile files: it is damaged
        return None


def _explain_tiff(file: IO[bytes]) -> ImageRejected | None:
    directory = next(iter(directories(file)), None)
    if directory is None:
        return None
    refuse_unread_compression(directory)
    if not _is_whole(directory, file):
        return None
    bits, kinds = _numbers(directory, _BITS) or [1], _numbers(directory, _SAMPLE_FORMAT) or [1]
    samples = (_numbers(directory, _SAMPLES) or [1])[0]
    if (kinds[0], bits[0]) in (_READ_GREY if samples == 1 else _READ_COLOURS):
        return ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_form")
    kind = _KINDS.get(kinds[0], "other")
    return ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_samples", samples=samples, bits=bits[0], kind=kind)


def _is_whole(directory: TiffImagePlugin.ImageFileDirectory_v2, file: IO[bytes]) -> bool:
    """Tell whether a page has a size, and its strips or tiles are inside the file."""
    size = file.seek(0, 2)
    if not (directory.get(_WIDTH) and directory.get(_HEIGHT)):
        return False
    for offsets, counts in _PLACES:
        places = list(zip(_numbers(directory, offsets), _numbers(directory, counts), strict=False))
        if places:
            return all(at > 0 and at + count <= size for at, count in places)
    return False


def _numbers(directory: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> list[int]:
    value = directory.get(tag, ())
    return [int(number) for number in (value if isinstance(value, tuple) else (value,))]


def _explain_bmp(file: IO[bytes]) -> ImageRejected | None:
    file.seek(0)
    head = file.read(54)
    (offset, header) = struct.unpack_from("<II", head, 10)
    if header not in _BMP_HEADERS or not 0 < offset < file.seek(0, 2):
        return None
    if header <= 16:
        (planes, bits), compression = struct.unpack_from("<HH", head, 22 if header == 12 else 26), 0
    else:
        planes, bits, compression = struct.unpack_from("<HHI", head, 26)
    if planes != 1 or compression not in _BMP_COMPRESSIONS:
        return None
    name = _BMP_COMPRESSIONS[compression]
    return ImageRejected(Rejection.UNSUPPORTED_FORM, case="bmp", bits=bits, compression=name)


def is_cut_short(file: IO[bytes], kind: str) -> bool:
    """Tell by its structure whether a file is truncated; `kind` is its format."""
    try:
        return _SHORT[kind](file) if kind in _SHORT else False
    except Exception:  # noqa: BLE001  # as in `explain`: an unreadable header tells nothing
        return False


def _is_short_png(file: IO[bytes]) -> bool:
    """Walk the chunks: truncated is one that reaches beyond the end, and pixel data that nothing follows."""
    size, place = file.seek(0, 2), 8
    while place + 12 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"IEND":
            return False
        place += length + 12
    return True


def _is_short_bmp(file: IO[bytes]) -> bool:
    file.seek(0)
    head = file.read(34)
    (offset, header, width, height, _, bits, compression) = struct.unpack_from("<IIiiHHI", head, 10)
    if header < 40 or compression not in {0, 3, 6}:
        return False
    return bool(offset + (abs(width) * bits + 31) // 32 * 4 * abs(height) > file.seek(0, 2))


def _is_short_webp(file: IO[bytes]) -> bool:
    file.seek(4)
    (size,) = struct.unpack("<I", file.read(4))
    return bool(size + 8 > file.seek(0, 2))


def _is_short_tiff(file: IO[bytes]) -> bool:
    directory = next(iter(directories(file)), None)
    return directory is not None and not _is_whole(directory, file)


_SHORT: Final = {"PNG": _is_short_png, "BMP": _is_short_bmp, "WEBP": _is_short_webp, "TIFF": _is_short_tiff}
