"""Decode JPEG to 8-bit grey, refusing damaged streams; also the JPEGs that Pillow cannot open.

Pillow ignores libjpeg's warnings: lost bytes, invalid Huffman codes, markers out of order. Six of eight images damaged
on purpose decoded silently and got a prediction. simplejpeg uses the same libjpeg-turbo with the same pixels, and fails
there.
"""

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageOps, TiffImagePlugin

from shared.errors import ImageRejected
from shared.images.codestreams import (
    END,
    CodestreamDamaged,
    Frame,
    Process,
    as_eight_bits,
    lacks_scans,
    read_jpeg,
    with_usual_header,
    without_padding,
)
from shared.images.decoder import Codec, decode
from shared.images.decoder_texts import tells_of_damage
from shared.images.jpeg_lossless import is_damaged
from shared.images.jpeg_scans import refuse_scan_bomb
from shared.refusals import Rejection

if TYPE_CHECKING:
    import numpy as np

_SCALES: Final = (8, 4, 2)
_BANDS: Final = {"GRAY": 1, "CMYK": 4}
# TIFF 6.0, sections 8 and 15; TIFF technical note 2.
_COMPRESSION, _TABLES, _BY_JPEG = 259, 347, 7
_STRIPS: Final = ((273, 279), (324, 325))
_WIDTH, _HEIGHT = 256, 257
_PIXELS_BEYOND: Final = 4  # tiles extend beyond the page
_START_OF_SCAN: Final = b"\xff\xda"


def decode_grey(data: bytes, size: tuple[int, int], at_least: int) -> "np.ndarray | None":
    """Decode a grey or colour 8-bit JPEG of `size` to grey, uint8 (rows, columns), as Pillow's draft mode does.

    It is decoded at 1/2, 1/4 or 1/8 of its size where its sides stay at least `at_least` long. None where this decoder
    does not support it. Raises ImageRejected where the scan is damaged or truncated, or is lossless and in colour.
    """
    frame, (width, height) = _read_frame(data), size
    if frame is not None and frame.process is Process.LOSSLESS:
        _refuse_colours(frame)
    scale = 1
    if frame is not None and frame.process is Process.LOSSY:  # others cannot be scaled, and libjpeg does not report it
        scale = next((scale for scale in _SCALES if min(width, height) // scale >= at_least), 1)
    grey = _decode_strictly(data, "GRAY", -(-width // scale), -(-height // scale))
    if grey is not None and frame is not None and _is_incomplete(data, frame, grey):
        raise refusal(data)
    return grey


def _is_incomplete(data: bytes, frame: Frame, grey: "np.ndarray") -> bool:
    """Tell whether a decoded JPEG has other bits than its pixels need, or too few scans."""
    if frame.process is Process.LOSSLESS:
        return is_damaged(data, grey)
    return frame.is_progressive and lacks_scans(data)


def _refuse_colours(frame: Frame) -> None:
    if frame.components != 1:
        process = frame.process.name.lower()
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="jpeg_colour", process=process, bits=frame.precision)


def refuse_damaged_cmyk(data: bytes) -> None:
    """Raise ImageRejected where the scan of a CMYK JPEG is damaged; Pillow converts it to grey."""
    _decode_strictly(data, "CMYK", 0, 0)


def refuse_damaged_strips(directory: TiffImagePlugin.ImageFileDirectory_v2, data: bytes) -> None:
    """Raise ImageRejected where a strip or tile of a JPEG-compressed page is damaged; libtiff does not report it.

    Checking is limited by the page's number of pixels; libtiff refuses strips that declare wrong sizes.
    """
    if directory.get(_COMPRESSION) != _BY_JPEG:
        return
    tables = directory.get(_TABLES, b"")
    head = bytes(tables[: -len(END)]) if isinstance(tables, bytes) else b""
    left = _PIXELS_BEYOND * int(directory[_WIDTH]) * int(directory[_HEIGHT])
    for offsets, counts in _STRIPS:
        for at, count in zip(directory.get(offsets, ()), directory.get(counts, ()), strict=False):
            strip = head + data[at + 2 : at + count] if head else data[at : at + count]
            left -= _pixels(strip) or left + 1
            if left < 0:
                return
            refuse_scan_bomb(strip)
            _decode_strictly(strip, "GRAY", 0, 0)


def _pixels(data: bytes) -> int:
    """Return how many pixels a JPEG declares; 0 where that cannot be read."""
    frame = _read_frame(data)
    return frame.rows * frame.columns if frame is not None else 0


def _read_frame(data: bytes) -> Frame | None:
    try:
        return read_jpeg(data)
    except CodestreamDamaged:
        return None


def _decode_strictly(data: bytes, colours: str, width: int, height: int) -> "np.ndarray | None":
    """Decode the first band of a JPEG, at the smallest scale with these sides; None where it is not supported.

    Raises ImageRejected where it is damaged.
    """
    try:
        return _decode(data, colours, width, height)
    except ValueError as error:
        is_damage = tells_of_damage(error)
        mended = _without_filling(data) if is_damage else _unless_same(with_usual_header(data), data)
        if mended is not None:
            return _decode_strictly(mended, colours, width, height)
        if is_damage:
            raise refusal(data) from error
        return None


def _decode(data: bytes, colours: str, width: int, height: int) -> "np.ndarray":
    import numpy as np  # noqa: PLC0415  # the web loads both with the first image shown
    import simplejpeg  # noqa: PLC0415

    rows, columns, *_ = simplejpeg.decode_jpeg_header(data)
    # A buffer for the unscaled image: simplejpeg 1.9 allocates one for the scaled size, and where a process cannot be
    # scaled libjpeg-turbo writes beyond it. Untouched memory costs nothing.
    buffer = np.empty(rows * columns * _BANDS[colours], np.uint8)
    found: np.ndarray = simplejpeg.decode_jpeg(
        data, colours, fastdct=False, fastupsample=False, min_width=width, min_height=height, buffer=buffer, strict=True
    )
    return found[..., 0]


def _unless_same(mended: bytes, data: bytes) -> bytes | None:
    return None if mended == data else mended


def _without_filling(data: bytes) -> bytes | None:
    """Return a JPEG without the zeros that some scanners write before its end marker; None where it has none."""
    end = data.rfind(END)
    scan = data[:end].rstrip(b"\0")
    return None if end < 0 or len(scan) == end else scan + END


def refusal(data: bytes) -> ImageRejected:
    """Return why a JPEG that cannot be decoded fully is refused: it is truncated, or its scan is damaged."""
    if data.rfind(END) < data.rfind(_START_OF_SCAN):
        return ImageRejected(Rejection.TRUNCATED_IMAGE)
    return ImageRejected(Rejection.DAMAGED_SCAN)


def upright(grey: Image.Image, exif: Image.Exif) -> Image.Image:
    """Turn a decoded image upright by its EXIF orientation."""
    orientation = exif.get(0x0112, 1)
    if orientation == 1:
        return grey
    grey.getexif()[0x0112] = orientation
    return ImageOps.exif_transpose(grey)


def read_special(data: bytes) -> Frame:
    """Read the frame header of a JPEG that Pillow cannot open: JPEG-LS, or more than 8 bits per sample.

    Raises ImageRejected where it is damaged or of another kind.
    """
    try:
        frame = read_jpeg(data)
    except CodestreamDamaged as error:
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="header") from error
    if not frame.rows:
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="header")
    _refuse_colours(frame)
    if frame.process is Process.OTHER:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="jpeg_coding", bits=frame.precision)
    return frame


def special_size(data: bytes) -> tuple[int, int]:
    """Return the display width and height of a JPEG that Pillow cannot open; see `read_special`."""
    frame = read_special(data)
    is_lying = _exif(frame).get(0x0112) in {5, 6, 7, 8}
    return (frame.rows, frame.columns) if is_lying else (frame.columns, frame.rows)


def decode_special(data: bytes) -> Image.Image:
    """Decode a grey JPEG that Pillow cannot open, upright, with unchanged samples; see `read_special`."""
    frame = read_special(data)
    samples = decode_frame(data, frame)
    return upright(Image.fromarray(samples), _exif(frame))


def _exif(frame: Frame) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load(frame.exif)
    except Exception:  # noqa: BLE001  # its parsers raise anything; then the orientation is unknown
        return Image.Exif()
    return exif


def decode_frame(data: bytes, frame: Frame) -> "np.ndarray":
    """Decode a grey JPEG or JPEG-LS of any depth, as its frame header declares, to uint8 or uint16.

    Raises ImageRejected where it is damaged.
    """
    try:
        whole = without_padding(data[: data.rfind(END) + len(END)])
    except CodestreamDamaged as error:
        raise ImageRejected(Rejection.TRUNCATED_IMAGE) from error
    if frame.process is Process.LOSSY and frame.precision == 8:
        grey = decode_grey(whole, (frame.columns, frame.rows), max(frame.columns, frame.rows))
        if grey is not None:
            return grey
    if frame.process is Process.LOSSY and frame.precision > 8:
        # The decoder for more bits does not report damage. The 8-bit one parses the same codes.
        _decode_strictly(as_eight_bits(whole), "GRAY", 1, 1)
    codec = Codec.JPEG_LS if frame.process is Process.LS else Codec.JPEG8 if frame.precision == 8 else Codec.JPEG
    usual = with_usual_header(whole) if codec is Codec.JPEG8 else whole
    samples = decode(codec, usual, rows=frame.rows, columns=frame.columns)
    is_lossless = frame.process is Process.LOSSLESS
    if int(samples.max()) >> frame.precision or (is_lossless and is_damaged(whole, samples)):
        raise refusal(whole)
    return samples
