"""Read an image's EXIF orientation: cameras store images rotated and declare it (tag 0x0112, CIPA DC-008)."""

import io
import struct
from collections.abc import Iterator
from typing import IO, Final

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

_SWAP_SIDES: Final = {5, 6, 7, 8}
_HEADER_BYTES: Final = 33  # signature, then IHDR: 13 bytes after 8 and before 4 (W3C PNG, 5.3)
_SAY_ORIENTATION: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
# An image of 64 MiB in libpng's chunks of 8 KiB has 8,192; files with more are not read further.
_MOST_CHUNKS: Final = 20_000
_MOST_TEXT_BYTES: Final = 1024 * 1024


def upright_size(image: Image.Image, file: IO[bytes]) -> tuple[int, int]:
    """Return an opened image's display width and height; no pixel is decoded.

    `file` is the one that the image was opened from. Raises what Pillow raises where its EXIF is damaged.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and ExifTags.Base.Orientation in image.tag_v2:
        return image.size  # already rotated by Pillow
    exif = _read_png(file) if isinstance(image, PngImagePlugin.PngImageFile) else image.getexif()
    width, height = image.size
    return (height, width) if exif.get(ExifTags.Base.Orientation) in _SWAP_SIDES else (width, height)


def _read_png(file: IO[bytes]) -> Image.Exif:
    """Read the EXIF of a PNG, which may follow the pixels; Pillow would decode these to get there."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    pixels = struct.pack(">I4s", 0, b"IDAT") + bytes(4)
    text = b"".join(_chunks(file))
    with Image.open(io.BytesIO(head + text + pixels), formats=("PNG",)) as empty:
        return Image.Image.getexif(empty)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the chunks that may hold a PNG's orientation."""
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
