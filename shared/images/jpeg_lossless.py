"""Check that a lossless JPEG (ITU T.81, annex H) was decoded from exactly the bits that it has.

The decoder for more than 8 bits ignores libjpeg's warnings. But each sample's code follows from the sample and its
neighbours, so the bits of an undamaged scan can be counted without decoding it again.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

_STRIP_ROWS: Final = 128
_CATEGORIES: Final = 17
_MOST_PADDING: Final = 4
"""Bytes of zeros or ones after the last one needed, which a few encoders write."""
_DHT, _DRI, _SOS, _EOI, _SOF3 = 0xC4, 0xDD, 0xDA, 0xD9, 0xC3
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_MARKER: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_Predictor = Callable[["np.ndarray", "np.ndarray", "np.ndarray"], "np.ndarray"]
# From the samples to the left, above, and to the left of the one above (T.81, table H.1).
_PREDICTORS: Final[dict[int, _Predictor]] = {
    1: lambda left, _above, _corner: left,
    2: lambda _left, above, _corner: above,
    3: lambda _left, _above, corner: corner,
    4: lambda left, above, corner: left + above - corner,
    5: lambda left, above, corner: left + ((above - corner) >> 1),
    6: lambda left, above, corner: above + ((left - corner) >> 1),
    7: lambda left, above, _corner: (left + above) >> 1,
}


@dataclass
class _Stream:
    """The parameters of a stream's only scan."""

    precision: int = 0
    interval: int = 0
    """Samples between restart markers; 0 where there are none."""
    tables: dict[int, dict[int, int]] = field(default_factory=dict)
    """By number: the length of the code of each category."""
    table: int = 0
    predictor: int = 0
    shift: int = 0
    scan: bytes = b""


def is_damaged(data: bytes, samples: "np.ndarray") -> bool:
    """Tell whether a lossless JPEG of one component has other bits than those for `samples`, uint (rows, columns).

    False where it has a rare structure that is not supported here.
    """
    stream = _read(data)
    rows, columns = samples.shape
    if stream is None or stream.table not in stream.tables or stream.interval % columns:
        return False
    lines = stream.interval // columns or rows
    parts = _RESTART.split(stream.scan)
    if len(parts) != -(-rows // lines):
        return True
    return any(
        not _fits(part, _bits_needed(samples[at * lines : (at + 1) * lines], stream)) for at, part in enumerate(parts)
    )


def _fits(part: bytes, bits: int) -> bool:
    """Tell whether a restart interval has the bytes that its bits need, apart from padding."""
    coded = part.replace(b"\xff\x00", b"\xff")
    spare = len(coded) - (bits + 7) // 8
    return 0 <= spare <= _MOST_PADDING and (spare == 0 or set(coded[-spare:]) <= {0, 0xFF})


def _read(data: bytes) -> _Stream | None:
    stream, place = _Stream(), 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, (length,) = data[place + 1], struct.unpack_from(">H", data, place + 2)
        body = data[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xFF or length < 2:
            return None
        _take(marker, body, stream)
        if marker == _SOS:
            end = _MARKER.search(data, place)
            if end is None or end.group()[-1] != _EOI or len(body) != 6:
                return None  # of several components, scans or tables
            stream.scan = data[place : end.start()]
            return stream
    return None


def _take(marker: int, body: bytes, stream: _Stream) -> None:
    if marker == _SOF3:
        stream.precision = body[0]
    elif marker == _DRI:
        (stream.interval,) = struct.unpack_from(">H", body)
    elif marker == _DHT:
        _take_tables(body, stream)
    elif marker == _SOS and len(body) == 6:
        stream.table, stream.predictor, stream.shift = body[2] >> 4, body[3], body[5] & 15


def _take_tables(body: bytes, stream: _Stream) -> None:
    while len(body) >= 17:
        counts = body[1:17]
        symbols = body[17 : 17 + sum(counts)]
        lengths = [length for length, count in enumerate(counts, 1) for _ in range(count)]
        stream.tables[body[0]] = dict(zip(symbols, lengths, strict=False))
        body = body[17 + len(symbols) :]


def _bits_needed(samples: "np.ndarray", stream: _Stream) -> int:
    """Count the bits of one restart interval; -1 million where a difference has no code."""
    import numpy as np  # noqa: PLC0415  # the web needs it for some images only

    counts = np.zeros(_CATEGORIES, np.int64)
    for top in range(0, len(samples), _STRIP_ROWS):
        strip = samples[max(0, top - 1) : top + _STRIP_ROWS].astype(np.int32) >> stream.shift
        differences = _differences(strip, stream, is_first=top == 0)
        counts += np.bincount(_categories()[differences.ravel()], minlength=_CATEGORIES)
    lengths = stream.tables[stream.table]
    found = [(category, int(count)) for category, count in enumerate(counts) if count]
    if any(category not in lengths for category, _ in found):
        return -1_000_000
    return sum(count * (lengths[category] + category % 16) for category, count in found)


def _categories() -> "np.ndarray":
    """Return the category of each difference modulo 65,536 (T.81, table H.2): the bit length of its magnitude."""
    import numpy as np  # noqa: PLC0415  # as above

    amounts = np.arange(65_536)
    return np.frexp(np.minimum(amounts, 65_536 - amounts))[1].astype(np.uint8)


def _differences(strip: "np.ndarray", stream: _Stream, *, is_first: bool) -> "np.ndarray":
    """Return the coded differences of a strip (H.1.2.1): samples minus their prediction, modulo 65,536.

    Its first line is the one above the strip, unless it `is_first` of an interval and predicted from the left alone.
    """
    import numpy as np  # noqa: PLC0415  # as above

    predicted = np.empty_like(strip)
    predicted[0, 0] = 1 << (stream.precision - stream.shift - 1)
    predicted[0, 1:] = strip[0, :-1]
    predicted[1:, 0] = strip[:-1, 0]
    left, above, corner = strip[1:, :-1], strip[:-1, 1:], strip[:-1, :-1]
    predicted[1:, 1:] = _PREDICTORS.get(stream.predictor, _PREDICTORS[1])(left, above, corner)
    coded: np.ndarray = (strip - predicted) & 0xFFFF
    return coded if is_first else coded[1:]
