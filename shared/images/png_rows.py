"""Check that a PNG has all of its rows: Pillow leaves rows missing from a truncated pixel stream black."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from PIL import Image

from shared.errors import ImageRejected
from shared.refusals import Rejection

_SIGNATURE_BYTES: Final = 8
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type (W3C PNG, table 11.1)
# First column and row of each pass of Adam7, and the steps to the next (W3C PNG, 8.1).
_PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_WHOLE: Final = ((0, 0, 1, 1),)
_PIECE: Final = 64 * 1024


def refuse_missing_rows(image: Image.Image, data: bytes) -> None:
    """Raise ImageRejected where a PNG's pixel data end before its last row; `image` is decoded, not yet rotated."""
    width, height, depth, kind, _, _, is_interlaced = struct.unpack_from(">IIBBBBB", data, _SIGNATURE_BYTES + 8)
    last = image.crop((0, height - 1, width, height))
    if not is_interlaced and last.getbbox(alpha_only=False) is not None:
        return  # only a missing or black row justifies inflating the pixels again
    bits, passes = depth * _CHANNELS[kind], _PASSES if is_interlaced else _WHOLE
    if not _unpacks_to(data, sum(_pass_bytes((width, height), bits, steps) for steps in passes)):
        raise ImageRejected(Rejection.TRUNCATED_IMAGE)


def _pass_bytes(size: tuple[int, int], bits: int, steps: tuple[int, int, int, int]) -> int:
    """Return how many bytes a pass has: for each row one filter byte, and its pixels."""
    left, top, across, down = steps
    columns, rows = -(-(size[0] - left) // across), -(-(size[1] - top) // down)
    return rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0


def _unpacks_to(data: bytes, size: int) -> bool:
    """Tell whether the pixels inflate to at least `size` bytes; no more than that is inflated."""
    unpacker = zlib.decompressobj()
    for packed in _pixels(data):
        rest = packed
        while rest and size > 0 and not unpacker.eof:
            size -= len(unpacker.decompress(rest, _PIECE))
            rest = unpacker.unconsumed_tail
        if size <= 0:
            return True
    return size <= len(unpacker.flush())


def _pixels(data: bytes) -> Iterator[bytes]:
    place = _SIGNATURE_BYTES
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT":
            # In pieces, because each inflate call copies the remaining input.
            for start in range(place + 8, place + 8 + length, _PIECE):
                yield data[start : min(start + _PIECE, place + 8 + length)]
        place += length + 12
