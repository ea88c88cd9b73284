"""Refuse JPEG and PNG files with further full images appended: decoders read only the first."""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from PIL import Image

from shared.errors import ImageRejected
from shared.refusals import Rejection

_JOINED_JPEG: Final = re.compile(rb"\xff\xd9\0{0,4096}(?=\xff\xd8\xff)")
"""The end of one and the start of another, after zeros with which some programs pad a file to a whole block."""
_PNG_END: Final = b"IEND\xaeB`\x82"  # type and checksum; it has no content (W3C PNG, 11.2.4)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_LOOKED_AT: Final = 16
_HEADER_BYTES: Final = 1 << 16
"""Where an image's size is, after colour profiles and previews; hostile files contain thousands of images."""


def refuse_joined_jpegs(data: bytes, size: tuple[int, int]) -> None:
    """Raise ImageRejected where another JPEG follows one of this size; smaller ones are previews that phones add."""
    _refuse(data, size, (joined.end() for joined in _JOINED_JPEG.finditer(data)))


def refuse_joined_pngs(data: bytes, size: tuple[int, int]) -> None:
    """Raise ImageRejected where another PNG follows one of this size."""
    joined = data.find(_PNG_END + _PNG)
    if joined >= 0:
        _refuse(data, size, iter([joined + len(_PNG_END)]))


def _refuse(data: bytes, size: tuple[int, int], places: Iterator[int]) -> None:
    count = 1 + sum(
        _is_as_large(data[place : place + _HEADER_BYTES], size) for place in islice(places, _MOST_LOOKED_AT)
    )
    if count > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="pictures", count=count)


def _is_as_large(data: bytes, size: tuple[int, int]) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return not (image.width < size[0] and image.height < size[1])
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for an invalid header
        return False
