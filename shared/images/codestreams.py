"""Parse the frame header and end marker of compressed images, before a decoder sees them.

Read are JPEG (ITU T.81), JPEG-LS (T.87) and JPEG 2000 (T.800) with HTJ2K (T.814). No pixel is decoded here.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

END: Final = b"\xff\xd9"
"""End of image of JPEG and JPEG-LS, end of codestream of JPEG 2000: the same two bytes."""

START_OF_SCAN: Final = re.compile(rb"\xff\xda")
"""Never inside a scan, where 0xFF is followed by 0 (T.81, B.1.1.5). Found by `re` in a third of the time that
bytes.count takes."""

_START: Final = b"\xff\xd8"
_START_2000: Final = b"\xff\x4f\xff\x51"  # start of codestream, then image and tile size (T.800, A.4.1 and A.5.1)
_JP2: Final = b"\x00\x00\x00\x0cjP  "
_BOX_HEADER_BYTES: Final = 8
_NO_LENGTH: Final = {0x01, *range(0xD0, 0xD9)}  # TEM, RST0 to RST7 and SOI have no segment (T.81, table B.1)
_SOS, _EOI, _APP0, _APP1, _APP2, _APP14 = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE
_JFIF: Final = b"JFIF\0"
_SEQUENTIAL: Final = {0xC0, 0xC1}
_SOF_PROGRESSIVE: Final = 0xC2
_COEFFICIENTS: Final = 64  # per block
_NOT_SENT: Final = 16
_MOST_SCAN_HEADER: Final = 14  # for four components
_SOF_LS: Final = 0xF7  # T.87, C.1.1
_SOFS: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # not DHT, JPG and DAC
_NEXT_MARKER: Final = re.compile(rb"\xff([\x80-\xcf\xd8-\xfe])")
"""A marker that ends a scan: neither an escaped 0xFF of JPEG (B.1.1.5) or JPEG-LS (A.1), nor a restart."""
_NUMBER_OF_LINES: Final = b"\xff\xdc\0\4"
_LINES_AT: Final = 1  # in a frame header, after the sample precision
_EXIF: Final = b"Exif\0\0"
_MOST_SEGMENTS: Final = 10_000


class CodestreamDamaged(ValueError):
    """Say that a codestream has no frame header where one belongs."""


class Process(Enum):
    """How the pixels of a frame are coded."""

    LOSSY = "JPEG"
    """Baseline, extended or progressive, by Huffman codes."""
    LOSSLESS = "JPEG Lossless"
    OTHER = "JPEG of a rare kind"
    """Hierarchical, or by arithmetic codes."""
    LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


@dataclass(frozen=True)
class Frame:
    """The content of a codestream's frame header."""

    process: Process
    precision: int
    """Bits per sample."""
    rows: int
    columns: int
    components: int
    is_signed: bool = False
    is_progressive: bool = False
    exif: bytes = b""
    """Of a JPEG; empty where it declares none."""


def read_jpeg(data: bytes) -> Frame:
    """Read the frame header of a JPEG or JPEG-LS; raise CodestreamDamaged where there is none."""
    exif = b""
    for _, marker, body in _segments(data):
        if marker == _APP1 and body.startswith(_EXIF) and not exif:
            exif = body
        if marker == _SOF_LS or marker in _SOFS:
            if len(body) < 6:
                break
            precision, rows, columns, components = struct.unpack_from(">BHHB", body)
            is_progressive = marker == _SOF_PROGRESSIVE
            return Frame(
                _process(marker), precision, rows, columns, components, is_progressive=is_progressive, exif=exif
            )
        if marker == _SOS:
            break
    raise CodestreamDamaged("no frame header")


def _process(marker: int) -> Process:
    if marker == _SOF_LS:
        return Process.LS
    if marker == 0xC3:
        return Process.LOSSLESS
    return Process.LOSSY if marker in {0xC0, 0xC1, 0xC2} else Process.OTHER


def with_height(data: bytes) -> bytes | None:
    """Return a JPEG with the height of its DNL marker, after the first scan, in its frame header (T.81, B.2.5).

    None where the frame header already has it, or there is no DNL.
    """
    lines_at = 0
    for place, marker, body in _segments(data):
        if marker == _SOF_LS or marker in _SOFS:
            lines_at = place + _LINES_AT
        if marker != _SOS:
            continue
        behind = _NEXT_MARKER.search(data, place + len(body))
        end = behind.start() if behind else len(data)
        lines = data[end + 4 : end + 6]
        is_told = lines_at and not any(data[lines_at : lines_at + 2]) and data[end : end + 4] == _NUMBER_OF_LINES
        if not is_told or not any(lines):
            return None
        return data[:lines_at] + lines + data[lines_at + 2 : end] + data[end + 6 :]
    return None


def lacks_scans(data: bytes) -> bool:
    """Tell whether a progressive JPEG lacks coefficients, or their last bits, of its first component.

    That is the luminance. Each scan sends some coefficients down to a bit (T.81, G.1.1.1); where the last scans are
    missing the image is blurred, and no decoder reports it.
    """
    component, last_bits = None, [_NOT_SENT] * _COEFFICIENTS
    for place, marker, body in _segments(data):
        if marker == _SOF_PROGRESSIVE and len(body) > 6:
            component = body[6]
        if marker == _SOS:
            for found in START_OF_SCAN.finditer(data, place - 4):
                _take_scan(data[found.end() : found.end() + _MOST_SCAN_HEADER], component, last_bits)
            break
    return component is not None and any(last_bits)


def _take_scan(header: bytes, component: int | None, last_bits: list[int]) -> None:
    """Record down to which bit a scan has sent a component's coefficients."""
    ends = 3 + 2 * header[2] if len(header) > 2 else len(header)
    if component is not None and component in header[3:ends:2] and len(header) >= ends + 3:
        first, last, bits = header[ends : ends + 3]
        for coefficient in range(first, min(last + 1, _COEFFICIENTS)):
            last_bits[coefficient] = bits & 15


def with_usual_header(data: bytes) -> bytes:
    """Return a JPEG without the header and scan defects that libjpeg warns of but that lose no pixel.

    They are another JFIF version, an unknown Adobe colour transform, colour profiles, and a sequential scan declared as
    progressive. Strict decoding then fails only where data are lost.
    """
    kept, is_sequential = [_START], False
    for place, marker, body in _segments(data):
        if marker in _SOFS:
            is_sequential = marker in _SEQUENTIAL
        if marker == _SOS:
            scans = data[place - 4 :]
            return b"".join(kept) + (_as_sequential(scans) if is_sequential else scans)
        if marker != _APP2:
            kept.append(data[place - 4 : place] + _usual_segment(marker, body))
    return data


def _usual_segment(marker: int, body: bytes) -> bytes:
    if marker == _APP0 and body.startswith(_JFIF) and len(body) > 7:
        return _JFIF + b"\1\1" + body[7:]
    if marker == _APP14 and body.startswith(b"Adobe") and len(body) > 11 and body[11] > 2:
        return body[:11] + b"\1" + body[12:]  # YCbCr, which libjpeg assumes in this case
    return body


def _as_sequential(scans: bytes) -> bytes:
    """Set the header of each scan to that of a sequential one (T.81, table B.3)."""
    mended = bytearray(scans)
    for found in START_OF_SCAN.finditer(scans):
        end = found.end() + int.from_bytes(scans[found.end() : found.end() + 2], "big")
        if found.end() + 6 <= end <= len(scans):
            mended[end - 3 : end] = b"\0\x3f\0"
    return bytes(mended)


def as_eight_bits(data: bytes) -> bytes:
    """Return a JPEG with 8 bits per sample in its frame header: its codes are parsed alike, but its pixels differ."""
    for place, marker, _ in _segments(data):
        if marker in _SOFS:
            return data[:place] + b"\x08" + data[place + 1 :]
    return data


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield each segment up to the first scan: offset of its content, marker and content (T.81, B.1.1)."""
    place = len(_START)
    for _ in range(_MOST_SEGMENTS):
        while data[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if len(data) < place + 4 or data[place] != 0xFF:
            return
        marker = data[place + 1]
        place += 2
        if marker in _NO_LENGTH:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        if length < 2 or marker in {0, _EOI}:  # libjpeg skips 0xFF00, and would find another header after it
            return
        yield place + 2, marker, data[place + 2 : place + length]
        place += length


def read_jpeg_2000(data: bytes) -> Frame:
    """Read the image size of a JPEG 2000 codestream, bare or in a JP2 file; raise CodestreamDamaged where it has none.

    Raises it also where the boxes of a JP2 file do not lead to a codestream: pydicom 3.0.2 follows the lengths of boxes
    and loops for ever where one is 0.
    """
    stream = data[_codestream_start(data) :][:64]
    if not stream.startswith(_START_2000) or len(stream) < 43:
        raise CodestreamDamaged("no image size")
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    (components, depth) = struct.unpack_from(">HB", stream, 40)
    return Frame(Process.JPEG_2000, (depth & 0x7F) + 1, bottom - top, right - left, components, bool(depth & 0x80))


def _codestream_start(data: bytes) -> int:
    if not data.startswith(_JP2):
        return 0
    place = len(_JP2) + 4
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"jp2c":
            return place + (_BOX_HEADER_BYTES if length != 1 else 16)
        if length < _BOX_HEADER_BYTES:
            break
        place += length
    raise CodestreamDamaged("no codestream among the boxes")


def without_padding(data: bytes) -> bytes:
    """Return a codestream up to its end marker; DICOM pads with zeros to an even length.

    Raises CodestreamDamaged where it does not end in one: it was cut short, and some decoders then search for minutes.
    """
    bare = data if data.endswith(END) else data.rstrip(b"\0")
    if not bare.endswith(END):
        raise CodestreamDamaged("no end marker")
    return bare
