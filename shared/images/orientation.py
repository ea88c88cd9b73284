"""Which way up an image is: cameras store images lying and say so (Orientation, tag 0x0112, CIPA DC-008)."""

import io
import struct
from collections.abc import Iterator
from typing import IO, Final

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

_SWAP_SIDES: Final = {5, 6, 7, 8}
_HEADER_BYTES: Final = 33  # signature, then IHDR: 13 bytes behind 8 and before 4 (W3C PNG, 5.3)
_SAY_ORIENTATION: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
# An image of 64 MiB in the chunks of 8 KiB that libpng writes has 8,192; more are not worth the reading.
_MOST_CHUNKS: Final = 20_000
_MOST_TEXT_BYTES: Final = 1024 * 1024


def upright_size(image: Image.Image, file: IO[bytes]) -> tuple[int, int]:
    """Return an opened image's width and height as it is shown; no pixel is decoded.

    `file` is what the image was opened from. Raises what Pillow raises where its EXIF is damaged.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and ExifTags.Base.Orientation in image.tag_v2:
        return image.size  # Pillow has turned it already
    exif = _read_png(file) if isinstance(image, PngImagePlugin.PngImageFile) else image.getexif()
    width, height = image.size
    return (height, width) if exif.get(ExifTags.Base.Orientation) in _SWAP_SIDES else (width, height)


def _read_png(file: IO[bytes]) -> Image.Exif:
    """Read the EXIF of a PNG, which may stand behind the pixels; Pillow would decode these to get there."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    pixels = struct.pack(">I4s", 0, b"IDAT") + bytes(4)
    text = b"".join(_chunks(file))
    with Image.open(io.BytesIO(head + text + pixels), formats=("PNG",)) as empty:
        return Image.Image.getexif(empty)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the chunks that may say which way up a PNG is."""
    left = _MOST_TEXT_BYTES
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] in _SAY_ORIENTATION and length <= left:
            left -= length
            yield head + file.read(length + 4)
        else:
            file.seek(length + 4, io.SEEK_CUR)
