"""Whether further whole images are joined to the first in one JPEG or PNG file: decoders read the first alone."""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from PIL import Image

from shared.errors import ImageRejected
from shared.refusals import Rejection

_JOINED_JPEG: Final = re.compile(rb"\xff\xd9\0{0,4096}(?=\xff\xd8\xff)")
"""The end of one and the start of another, behind zeros that some programs fill a file with up to a whole block."""
_PNG_END: Final = b"IEND\xaeB`\x82"  # type and check sum; it has no content (W3C PNG, 11.2.4)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MOST_LOOKED_AT: Final = 16
_HEADER_BYTES: Final = 1 << 16
"""Where the size of an image stands, behind colour profiles and previews; hostile files name thousands of images."""


def refuse_joined_jpegs(data: bytes, size: tuple[int, int]) -> None:
    """Raise ImageRejected where another JPEG follows one of this size; smaller ones are previews, as telephones add."""
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
    except (OSError, SyntaxError, ValueError):  # what Pillow raises where a header is none
        return False
