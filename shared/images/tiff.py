"""Decode TIFF with deep grey samples: more than 8 bits, signed, or floats. Pillow reads all other TIFFs.

Pillow 13 ignores WhiteIsZero, wraps signed bytes and large 32-bit samples, and swaps the bytes of compressed big-endian
ones. So these are read here (TIFF 6.0, and BigTIFF): the tags directly, the strips by imagecodecs. A strip shorter than
expected is an error, not black.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from PIL import Image

from shared.errors import ImageRejected
from shared.refusals import Rejection

if TYPE_CHECKING:
    import numpy as np

    from shared.images.full_depth import FullDepth

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_HEADER_BYTES: Final = 8  # TIFF 6.0, section 2
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _FORMAT = 322, 323, 324, 325, 339
_NEW_SUBFILE, _SUBFILE = 254, 255
_DEPTH: Final = 32_997  # ImageDepth (SGI) of a page that is a stack of slices
_REDUCED: Final = 1  # bit 0 of NewSubfileType
_OLD_REDUCED: Final = 2  # of SubfileType

_TYPES: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # integers; TIFF 6.0, section 2
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CIE_LAB = 0, 1, 2, 8
_SEPARATE: Final = 2  # value of PlanarConfiguration
_SIGNED, _FLOAT, _UNKNOWN = 2, 3, 4
_COMPLEX: Final = (5, 6)
_KINDS: Final = {1: "u", _SIGNED: "i", _FLOAT: "f", _UNKNOWN: "u", **dict.fromkeys(_COMPLEX, "c")}
_KIND_NAMES: Final = {"u": "unsigned", "i": "signed", "f": "float", "c": "complex"}
_WIDTHS: Final = {"u": {8, 16, 32, 64, *range(9, 16)}, "i": {8, 16, 32, 64}, "f": {16, 32, 64}}
_CODECS: Final = {1: "", 5: "lzw", 8: "zlib", 32_946: "zlib", 32_773: "packbits", 50_000: "zstd", 34_925: "lzma"}
_OTHER_CODECS: Final = {6: "JPEG", 7: "JPEG", 34_712: "JPEG 2000", 50_001: "WebP", 50_002: "JPEG XL", 34_887: "LERC"}
_OF_BYTES: Final = (-128.0, 127.0)
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3

_MOST_PAGES: Final = 64
_MOST_ENTRIES: Final = 4096
_MOST_SEGMENTS: Final = 200_000  # as many tiles of 16 x 16 as an image of 51 megapixels has
_MOST_NUMBERS: Final = 16
_FURTHEST: Final = 2**62
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_LYING: Final = {5, 6, 7, 8}


@dataclass(frozen=True)
class DeepTiff:
    """The tags of a deep grey TIFF."""

    width: int
    height: int
    order: str
    bits: int
    kind: str
    """NumPy's kind: u, i or f."""
    is_white_zero: bool
    codec: str
    """Codec of imagecodecs; empty where uncompressed."""
    predictor: int
    is_reversed: bool
    """Whether the bits of each byte are reversed (lowest first)."""
    orientation: int
    across: int
    """Columns of a strip or tile."""
    down: int
    """Rows of one."""
    is_tiled: bool
    offsets: Sequence[int]
    lengths: Sequence[int]

    @property
    def upright_size(self) -> tuple[int, int]:
        """Return the display width and height."""
        return (self.height, self.width) if self.orientation in _LYING else (self.width, self.height)


def read_deep(file: IO[bytes]) -> DeepTiff | None:
    """Read the tags of the first full page; None where Pillow reads it correctly.

    Raises ImageRejected where the page is deep and grey, but damaged or of an unsupported kind.
    """
    try:
        pages, order = _whole_pages(file)
    except (struct.error, OverflowError, ValueError) as error:
        raise _damaged() from error
    tags = pages[0] if pages else _Tags({})
    if tags.one(_DEPTH, 1) > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="pages", count=tags.one(_DEPTH, 1))
    places = (*tags.values.get(_STRIPS, ()), *tags.values.get(_TILES, ()))
    if any(place < _HEADER_BYTES for place in places):  # never written, as in a partial upload; it would be header
        raise _damaged()
    bits, kind = tags.one(_BITS, 1), _KINDS.get(tags.one(_FORMAT, 1), "")
    if tags.one(_SAMPLES, 1) != 1 or tags.one(_PHOTOMETRIC, _BLACK_IS_ZERO) not in {_WHITE_IS_ZERO, _BLACK_IS_ZERO}:
        _refuse_unless_read_by_pillow(tags, bits, kind)
        return None
    if _PHOTOMETRIC not in tags.values:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_polarity")
    if bits <= 8 and kind == "u":
        return None
    if len(pages) > 1:
        raise ImageRejected(Rejection.SEVERAL_IMAGES, case="pages", count=len(pages))
    return _describe(tags, order, bits, kind)


def decode(data: bytes, deep: DeepTiff) -> Image.Image:
    """Decode to upright 8-bit grey: signed bytes unscaled, all else by its own range (`grayscale.draw`)."""
    from shared.images import grayscale  # noqa: PLC0415  # intake only reads tags, without NumPy

    samples = _all_samples(data, deep)
    bounds = _OF_BYTES if deep.bits == 8 else None
    grey = Image.fromarray(grayscale.draw(samples, bounds=bounds, is_inverse=deep.is_white_zero))
    turn = _UPRIGHT.get(deep.orientation)
    return grey if turn is None else grey.transpose(turn)


def at_full_depth(data: bytes, deep: DeepTiff) -> "FullDepth":
    """Decode to upright samples at full depth, with the window that `decode` uses."""
    from shared.images import full_depth  # noqa: PLC0415  # as above

    samples = _all_samples(data, deep)
    window, step = _OF_BYTES if deep.bits == 8 else None, None if deep.kind == "f" else 1.0
    found = full_depth.code(samples, step=step, window=window, is_inverse=deep.is_white_zero, bits=min(deep.bits, 16))
    return found.turned(_UPRIGHT.get(deep.orientation))


def _all_samples(data: bytes, deep: DeepTiff) -> "np.ndarray":
    if deep.width * deep.height > (Image.MAX_IMAGE_PIXELS or 0):
        raise Image.DecompressionBombError(f"{deep.width} x {deep.height} pixels")
    samples = _samples(data, deep)
    if deep.kind == "f":
        _refuse_infinite(samples)
    return samples


def _refuse_unless_read_by_pillow(tags: "_Tags", bits: int, kind: str) -> None:
    """Refuse kinds of colour, and of grey with alpha, that Pillow does not read or misreads."""
    photometric, samples = tags.one(_PHOTOMETRIC, _RGB), tags.one(_SAMPLES, 1)
    if photometric == _CIE_LAB:
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_lab")
    if kind != "u" or bits > 16 or (bits > 8 and photometric <= _BLACK_IS_ZERO):
        raise _samples_unread(samples, bits, kind)
    if tags.one(_PLANES, 1) == _SEPARATE and samples > 1 and (bits > 8 or photometric <= _BLACK_IS_ZERO):
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_planes", samples=samples, bits=bits)


@dataclass(frozen=True)
class _Tags:
    """The integers of a page's tags."""

    values: dict[int, tuple[int, ...]]

    def one(self, tag: int, otherwise: int) -> int:
        """Return the first number of a tag, or `otherwise` without it."""
        return (*self.values.get(tag, ()), otherwise)[0]

    @property
    def is_reduced(self) -> bool:
        """Tell whether the page is a smaller copy of another."""
        return bool(self.one(_NEW_SUBFILE, 0) & _REDUCED) or self.one(_SUBFILE, 0) == _OLD_REDUCED


def _whole_pages(file: IO[bytes]) -> tuple[list[_Tags], str]:
    """Return the tags of the pages that are no reduced copies, else of the first, and the byte order."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    is_big = struct.unpack_from(f"{order}H", head, 2)[0] == 43
    place = struct.unpack_from(f"{order}Q", head, 8)[0] if is_big else struct.unpack_from(f"{order}I", head, 4)[0]
    pages: list[_Tags] = []
    seen: set[int] = set()
    while place and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        try:
            tags, place = _read_page(file, place, order, is_big=is_big)
        except (struct.error, OverflowError, ValueError):
            if pages:
                break  # some writers leave a wrong address after their last page
            raise
        pages.append(tags)
    whole = [tags for tags in pages if _WIDTH in tags.values and not tags.is_reduced]
    return whole or pages[:1], order


def _read_page(file: IO[bytes], place: int, order: str, *, is_big: bool) -> tuple[_Tags, int]:
    """Return the tags of a page and the offset of the next one, 0 for none."""
    counter, entry, pointer = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    (count,) = _unpack(file, place, f"{order}{counter}")
    if count > _MOST_ENTRIES:
        raise ValueError("too many tags")
    start, size = place + struct.calcsize(f"{order}{counter}"), struct.calcsize(f"{order}{entry}")
    file.seek(start)
    table = file.read(size * count)
    values: dict[int, tuple[int, ...]] = {}
    for tag, kind, number, inline in struct.iter_unpack(f"{order}{entry}", table):
        if tag in _KNOWN and kind in _TYPES and tag not in values:
            taken = min(number, _MOST_SEGMENTS if tag in _LONG else _MOST_NUMBERS)
            values[tag] = _numbers(file, f"{order}{taken}{_TYPES[kind]}", inline, order)
    if len(table) < size * count:
        raise ValueError("tags cut short")
    file.seek(start + size * count)
    after = file.read(struct.calcsize(pointer))
    return _Tags(values), struct.unpack(f"{order}{pointer}", after)[0] if len(after) == struct.calcsize(pointer) else 0


_KNOWN: Final = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS,
    _STRIP_BYTES, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _FORMAT, _NEW_SUBFILE, _SUBFILE,
    _DEPTH,
}  # fmt: skip


_LONG: Final = {_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES}


def _numbers(file: IO[bytes], layout: str, inline: bytes, order: str) -> tuple[int, ...]:
    if struct.calcsize(layout) <= len(inline):
        return struct.unpack_from(layout, inline)
    (place,) = struct.unpack(f"{order}{'Q' if len(inline) == 8 else 'I'}", inline)
    return _unpack(file, place, layout)


def _unpack(file: IO[bytes], place: int, layout: str) -> tuple[int, ...]:
    if place > _FURTHEST:
        raise ValueError("a place that no file has")
    file.seek(place)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _describe(tags: _Tags, order: str, bits: int, kind: str) -> DeepTiff:
    compression, predictor = tags.one(_COMPRESSION, 1), tags.one(_PREDICTOR, _NO_PREDICTOR)
    if bits not in _WIDTHS.get(kind, ()):
        raise _samples_unread(1, bits, kind)
    if compression not in _CODECS:
        name = _OTHER_CODECS.get(compression, str(compression))
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_deep_compression", bits=bits, method=name)
    if not _is_predictable(predictor, bits, kind):
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_predictor", bits=bits, predictor=predictor)
    width, height = tags.one(_WIDTH, 0), tags.one(_HEIGHT, 0)
    is_tiled = _TILES in tags.values
    across, down = width, min(tags.one(_ROWS, height), height)
    if is_tiled:
        across, down = tags.one(_TILE_WIDTH, 0), tags.one(_TILE_HEIGHT, 0)
    if min(width, height, across, down) < 1 or max(across, down) > 2 * max(width, height, 1024):
        raise _damaged()
    offsets = tags.values.get(_TILES if is_tiled else _STRIPS, ())
    lengths = tags.values.get(_TILE_BYTES if is_tiled else _STRIP_BYTES, ())
    expected = -(-width // across) * -(-height // down)
    if len(offsets) < expected:
        raise _damaged()
    if not _CODECS[compression] and (len(lengths) < expected or 0 in lengths[:expected]):
        lengths = _plain_lengths((width, height), (across, down), bits, is_tiled=is_tiled)
    if len(lengths) < expected:
        raise _damaged()
    return DeepTiff(
        width=width, height=height, order=order, bits=bits, kind=kind, codec=_CODECS[compression],
        is_white_zero=tags.one(_PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO, predictor=predictor,
        is_reversed=tags.one(_FILL_ORDER, 1) == 2, orientation=tags.one(_ORIENTATION, 1), across=across, down=down,
        is_tiled=is_tiled, offsets=offsets[:expected], lengths=lengths[:expected],
    )  # fmt: skip


def _plain_lengths(size: tuple[int, int], part: tuple[int, int], bits: int, *, is_tiled: bool) -> tuple[int, ...]:
    """Return the byte counts of uncompressed strips or tiles, which old writers omit."""
    (width, height), (across, down) = size, part
    rows = [down if is_tiled else min(down, left) for left in range(height, 0, -down)]
    return tuple(count * -(-across * bits // 8) for count in rows for _ in range(0, width, across))


def _is_predictable(predictor: int, bits: int, kind: str) -> bool:
    if predictor == _FLOAT_DIFFERENCES:
        return kind == "f"
    return predictor == _NO_PREDICTOR or (predictor == _DIFFERENCES and bits in {8, 16, 32, 64})


def _samples(data: bytes, deep: DeepTiff) -> "np.ndarray":
    """Return all samples, in native byte order."""
    import numpy as np  # noqa: PLC0415  # see decode

    width = deep.bits if deep.bits in {8, 16, 32, 64} else 16
    samples = np.empty((deep.height, deep.width), dtype=f"{deep.kind}{width // 8}")
    for (top, left), segment in zip(_places(deep), _segments(data, deep), strict=True):
        rows = deep.down if deep.is_tiled else min(deep.down, deep.height - top)
        block = _block(segment, rows, deep)
        into = samples[top : top + deep.down, left : left + deep.across]
        into[...] = block[: into.shape[0], : into.shape[1]]
    return samples


def _places(deep: DeepTiff) -> Iterator[tuple[int, int]]:
    for top in range(0, deep.height, deep.down):
        for left in range(0, deep.width, deep.across):
            yield top, left


def _segments(data: bytes, deep: DeepTiff) -> Iterator[bytes]:
    for offset, length in zip(deep.offsets, deep.lengths, strict=True):
        if offset + length > len(data):
            raise ImageRejected(Rejection.TRUNCATED_IMAGE)
        yield data[offset : offset + length]


def _block(segment: bytes, rows: int, deep: DeepTiff) -> "np.ndarray":
    """Return the samples of a strip or tile."""
    import imagecodecs  # noqa: PLC0415  # heavy, and few images need it
    import numpy as np  # noqa: PLC0415

    size = rows * (-(-deep.across * deep.bits // 8))
    if deep.is_reversed:
        segment = bytes(imagecodecs.bitorder_decode(segment))
    if deep.codec:
        segment = _decompress(getattr(imagecodecs, f"{deep.codec}_decode"), segment, size)
    if len(segment) < size:
        raise _damaged()
    segment = segment[:size]
    if deep.bits not in {8, 16, 32, 64}:
        packed = np.dtype(f"{deep.order}u2")
        return imagecodecs.packints_decode(segment, packed, deep.bits, runlen=deep.across).reshape(rows, deep.across)
    if deep.predictor == _FLOAT_DIFFERENCES:
        return _add_float_differences(segment, rows, deep)
    block = np.frombuffer(segment, f"{deep.order}{deep.kind}{deep.bits // 8}").reshape(rows, deep.across)
    return _add_differences(block) if deep.predictor == _DIFFERENCES else block


def _decompress(decode_segment: Callable[..., bytes], segment: bytes, size: int) -> bytes:
    """Decompress to at most `size` bytes."""
    try:
        return bytes(decode_segment(segment, out=size))
    except MemoryError:
        raise
    except Exception as error:
        # Each codec of imagecodecs raises an error of its own, derived from RuntimeError, and ValueError.
        raise _damaged() from error


def _add_differences(block: "np.ndarray") -> "np.ndarray":
    """Undo horizontal differencing (TIFF 6.0, section 14) of integers modulo their width."""
    import numpy as np  # noqa: PLC0415  # see decode

    native = block.astype(block.dtype.newbyteorder("="))
    whole = native.view(f"u{native.dtype.itemsize}")
    np.add.accumulate(whole, axis=1, out=whole)
    return native


def _add_float_differences(segment: bytes, rows: int, deep: DeepTiff) -> "np.ndarray":
    """Undo floating-point differencing (TIFF technical note 3): differences of bytes, the highest of each row first."""
    import numpy as np  # noqa: PLC0415  # see decode

    size = deep.bits // 8
    differences = np.frombuffer(segment, np.uint8).reshape(rows, size * deep.across)
    planes = np.add.accumulate(differences, axis=1, dtype=np.uint8).reshape(rows, size, deep.across)
    return np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{size}")[..., 0]


def _refuse_infinite(samples: "np.ndarray") -> None:
    """Refuse infinite floats; NaN means that there is no sample."""
    import numpy as np  # noqa: PLC0415  # see decode

    if any(np.isinf(row).any() for row in samples):
        raise ImageRejected(Rejection.UNREADABLE_IMAGE, case="infinite")


def _damaged() -> ImageRejected:
    return ImageRejected(Rejection.UNREADABLE_IMAGE, case="tiff")


def _samples_unread(samples: int, bits: int, kind: str) -> ImageRejected:
    name = _KIND_NAMES.get(kind, "other")
    return ImageRejected(Rejection.UNSUPPORTED_FORM, case="tiff_samples", samples=samples, bits=bits, kind=name)
