"""DICOM: from a radiograph's stored samples to 8-bit grey, and the shape of its pixels.

One way for all depths (PS3.4, N.2): stored bits, pixel padding, modality transform, VOI transform, polarity. Transforms
that cannot be used are left out, as if the file did not have them. Overlays are not drawn.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import ImageRejected
from shared.images import full_depth, grayscale
from shared.refusals import Rejection

if TYPE_CHECKING:
    from pydicom import Dataset

_CODESTREAMS: Final = "1.2.840.10008.1.2.4."
"""Begins the transfer syntaxes of JPEG and its kin, which hold the stored bits alone; all others hold containers."""
_DARK_IS_HIGH: Final = "MONOCHROME1"  # PS3.3, C.7.6.3.1.2
_FEW_BITS: Final = 8
"""Samples of so many bits are drawn by the range that they could have, deeper ones by the range that they do have:
detectors use 10 to 16 of 16 bits, and rarely say which."""
_MOST: Final = 1e12
"""No slope, intercept, window or pixel is larger; beyond it, differences of one are lost in float64."""
_LEAST_SHOWN: Final = 1 / 16
"""Of a window or VOI table: where 90 % of the samples lie within a sixteenth of its greys, it misses the image."""
_MOST_STRETCHED: Final = 4.0
_LEAST_STRETCHED: Final = 1.01  # below, it is rounding of the spacings
_PIXEL_SHAPES: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_FINEST: Final = 0.001
_COARSEST: Final = 10.0
"""In mm: a detector has pixels of 0.05 to 0.2; beyond these bounds the header is wrong and no length can be told."""
_WHOLE_TABLE: Final = 65_536  # what 0 entries stand for, PS3.3, C.11.1.1.1
_MOST_CHOICES: Final = 8

Transform = Callable[[np.ndarray], np.ndarray]


def to_grey(samples: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Draw a radiograph's stored samples as uint8 of the same shape, dark is low.

    `samples` are whole containers, unused bits included, where the file holds them as they lie; else the stored bits.
    Raises ImageRejected where they contradict the header.
    """
    meaning = _Meaning.of(samples, dataset)
    values, bounds, voi = meaning.values, meaning.bounds, meaning.voi
    if voi is not None:
        values, bounds = _one_after_the_other(values, voi.transform), None
    return grayscale.draw(samples, values, bounds=bounds, is_inverse=meaning.is_inverse)


def at_full_depth(samples: np.ndarray, dataset: "Dataset") -> full_depth.FullDepth:
    """Return a radiograph's stored samples at full depth, with the window in which `to_grey` draws them.

    Values are those behind the modality transform, to which windows apply (PS3.3, C.11.2). A VOI transform that is no
    window - a table, a sigmoid - is applied, and what it gives is windowed. Pixels are square.
    """
    meaning = _Meaning.of(samples, dataset)
    values, window, step, voi = meaning.values, meaning.bounds, meaning.step, meaning.voi
    if voi is not None:
        drawn = _one_after_the_other(values, voi.transform)
        low, high = grayscale.range_of(samples, drawn)
        if voi.window is None:
            values, window, step = drawn, (low, high), None
        else:
            black, white = voi.window
            window = (black + low * (white - black), black + high * (white - black))
    deep = full_depth.code(samples, values, step=step, window=window, is_inverse=meaning.is_inverse, bits=meaning.bits)
    size = shown_size(dataset)
    is_linear = voi is not None and voi.is_linear
    return replace(deep.resized(size), spacing=_spacing(dataset, size), is_linear=is_linear)


@dataclass(frozen=True)
class _Meaning:
    """What a radiograph's stored samples mean, and which part of that the file has shown."""

    values: Transform
    """From containers to the values behind the modality transform; NaN for padding."""
    bounds: tuple[float, float] | None
    """Of what may come out of it, where bits are few."""
    step: float | None
    """Between values of neighbouring samples; None where these are no whole numbers."""
    bits: int
    voi: "_Voi | None"
    is_inverse: bool

    @classmethod
    def of(cls, samples: np.ndarray, dataset: "Dataset") -> "_Meaning":
        found, counts = grayscale.present(samples)
        layout = _Layout.of(dataset, samples)
        is_padding = _padding(layout, dataset, found, counts)
        _refuse_if_overflowing(layout, found[~is_padding(found)], counts[~is_padding(found)])
        modality = _modality(dataset, layout)

        def values(containers: np.ndarray) -> np.ndarray:
            return np.where(is_padding(containers), np.nan, modality.transform(layout.sample(containers)))

        usable = (voi for voi in _vois(dataset, layout) if _shows(voi.transform(values(found)), counts))
        return cls(
            values=values,
            bounds=modality.bounds,
            step=modality.step,
            bits=modality.bits,
            voi=next(usable, None),
            is_inverse=dataset.get("PhotometricInterpretation") == _DARK_IS_HIGH,
        )


def shown_size(header: "Dataset") -> tuple[int, int]:
    """Return the width and height at which a radiograph's pixels are square: the longer side of each is kept."""
    columns, rows = int(header.Columns), int(header.Rows)
    for keyword in _PIXEL_SHAPES:
        sides = _numbers(header, keyword)
        if len(sides) != 2 or sides[0] is None or sides[1] is None or min(sides[0], sides[1]) <= 0:
            continue
        ratio = sides[0] / sides[1]
        if not _LEAST_STRETCHED <= max(ratio, 1 / ratio) <= _MOST_STRETCHED:
            break
        return (columns, round(rows * ratio)) if ratio > 1 else (round(columns / ratio), rows)
    return columns, rows


def _spacing(header: "Dataset", size: tuple[int, int]) -> full_depth.Spacing | None:
    """Return how far apart the pixels of an image shown at `size` are (PS3.3, 10.7.1); None where the header is silent.

    Pixel Spacing that differs from Imager Pixel Spacing was corrected for the body's distance from the detector, or a
    calibration type says so. All else is measured in the plane of the detector, where the body is drawn larger.
    """
    plain = {name: sides for name in _PIXEL_SHAPES[:3] if (sides := _sides(header, name)) is not None}
    name = next(
        (name for name in plain if name != "PixelSpacing" or plain[name] != plain.get("ImagerPixelSpacing")), ""
    )
    if not name:
        return None
    kind = _word(header, "PixelSpacingCalibrationType") if name == "PixelSpacing" else ""
    is_corrected = name == "PixelSpacing" and (kind in {"GEOMETRY", "FIDUCIAL"} or "ImagerPixelSpacing" in plain)
    down, across = plain[name]
    return full_depth.Spacing(
        down=down * int(header.Rows) / size[1],
        across=across * int(header.Columns) / size[0],
        source=name,
        is_corrected=is_corrected,
    )


def _sides(header: "Dataset", keyword: str) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in mm; None where they cannot be."""
    sides = _numbers(header, keyword)
    if len(sides) != 2 or sides[0] is None or sides[1] is None or not _FINEST <= min(sides[0], sides[1]) <= _COARSEST:
        return None
    return sides[0], sides[1]


@dataclass(frozen=True)
class _Layout:
    """Where in its container a sample lies (PS3.5, 8.1.1)."""

    width: int
    """Bits of a container."""
    stored: int
    """Bits of a sample."""
    shift: int
    """Unused bits below it."""
    is_signed: bool
    is_whole: bool
    """Whether samples are whole numbers; all else here is of no account where they are not."""
    overlays: int
    """The bits of a container in which overlays lie."""

    @classmethod
    def of(cls, dataset: "Dataset", samples: np.ndarray) -> "_Layout":
        width = samples.dtype.itemsize * 8
        stored = _whole(dataset.get("BitsStored"), 1, width) or width
        high = _whole(dataset.get("HighBit"), stored - 1, width - 1)
        is_codestream = str(dataset.file_meta.get("TransferSyntaxUID", "")).startswith(_CODESTREAMS)
        return cls(
            width=width,
            stored=stored,
            shift=high + 1 - stored if high is not None and not is_codestream else 0,
            is_signed=dataset.get("PixelRepresentation") == 1,
            is_whole=samples.dtype.kind in "iu",
            overlays=_overlay_bits(dataset),
        )

    def possible(self) -> tuple[float, float]:
        """Return the lowest and the highest sample that there can be."""
        if self.is_signed:
            return float(-(1 << self.stored - 1)), float((1 << self.stored - 1) - 1)
        return 0.0, float((1 << self.stored) - 1)

    def sample(self, containers: np.ndarray) -> np.ndarray:
        """Take samples out of their containers, as float64; what overflows is far beyond the highest."""
        if not self.is_whole:
            return containers.astype(np.float64)
        bits = containers.astype(np.int64) >> self.shift & (1 << self.stored) - 1
        if self.is_signed:
            bits -= (bits >> self.stored - 1) << self.stored
        return np.where(self.overflows(containers), 16.0 * (1 << self.width), bits)

    def overflows(self, containers: np.ndarray) -> np.ndarray:
        """Tell of each container whether it has bits above the sample that are neither its sign nor an overlay."""
        if not self.is_whole:
            return np.zeros(containers.shape, dtype=bool)
        top = self.shift + self.stored
        above = ((1 << self.width) - 1) & ~((1 << top) - 1) & ~self.overlays
        bits: np.ndarray = containers.astype(np.int64) & above
        has_more: np.ndarray = np.not_equal(bits, 0)
        if not self.is_signed:
            return has_more
        is_negative = containers.astype(np.int64) >> top - 1 & 1 == 1
        overflows: np.ndarray = has_more & ~(is_negative & np.equal(bits, above))
        return overflows


def _overlay_bits(dataset: "Dataset") -> int:
    """Return the bits of a container in which the file says that overlays lie (PS3.3 of 2004, C.9.2)."""
    bits = 0
    for group in range(0x6000, 0x6020, 2):
        place = _whole(dataset[group, 0x0102].value, 1, 31) if (group, 0x0102) in dataset else None
        bits |= 1 << place if place is not None else 0
    return bits


def _refuse_if_overflowing(layout: _Layout, found: np.ndarray, counts: np.ndarray) -> None:
    """Refuse an image that needs more bits than its header says: drawn by those alone it would wrap."""
    if counts[layout.overflows(found)].sum() > grayscale.TAIL * counts.sum():
        raise ImageRejected(Rejection.UNSUPPORTED_FORM, case="stored_bits", bits=layout.stored)


def _padding(
    layout: _Layout, dataset: "Dataset", found: np.ndarray, counts: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what tells the containers of padding (PS3.3, C.7.5.1.1.2); where all would be padding, none is."""
    limits = [_pad(dataset, layout, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    first, last = limits[0], limits[1] if limits[1] is not None else limits[0]
    if first is None or last is None:
        return _none
    low, high = min(first, last), max(first, last)
    lowest, highest = layout.possible()
    # Some pad with a value for which the stored bits are too few.
    unstored = [limit for limit in (low, high) if not lowest <= limit <= highest]

    def is_padding(containers: np.ndarray) -> np.ndarray:
        samples = layout.sample(containers)
        is_one: np.ndarray = ((samples >= low) & (samples <= high)) | np.isin(containers, unstored)
        return is_one

    left = counts[~is_padding(found)].sum()
    return is_padding if left > grayscale.TAIL * counts.sum() else _none


def _none(containers: np.ndarray) -> np.ndarray:
    return np.zeros(containers.shape, dtype=bool)


def _pad(dataset: "Dataset", layout: _Layout, keyword: str) -> float | None:
    """Return one limit of the padding; a signed one may be written as if it had no sign, and the other way round."""
    value = _number(dataset, keyword)
    if value is None or not layout.is_whole:
        return value
    if layout.is_signed and value >= 1 << layout.width - 1:
        return value - (1 << layout.width)
    return value + (1 << layout.width) if value < 0 and not layout.is_signed else value


@dataclass(frozen=True)
class _Modality:
    """A modality transform (PS3.3, C.11.1)."""

    transform: Transform
    bounds: tuple[float, float] | None
    """Of what may come out of it, where bits are few."""
    step: float | None
    bits: int


def _modality(dataset: "Dataset", layout: _Layout) -> _Modality:
    """Return the first usable table, else the rescaling."""
    for item in _items(dataset, "ModalityLUTSequence"):
        table = _table(dataset, item, layout)
        if table is not None:
            bounds = (0.0, float((1 << table.bits) - 1)) if table.bits <= _FEW_BITS else None
            return _Modality(table.look_up, bounds, 1.0, table.bits)
    slope, intercept = _number(dataset, "RescaleSlope") or 1.0, _number(dataset, "RescaleIntercept") or 0.0

    def rescale(samples: np.ndarray) -> np.ndarray:
        return samples * slope + intercept

    step = abs(slope) if layout.is_whole else None
    if layout.stored > _FEW_BITS or not layout.is_whole:
        return _Modality(rescale, None, step, layout.stored)
    low, high = sorted(limit * slope + intercept for limit in layout.possible())
    return _Modality(rescale, (low, high), step, layout.stored)


@dataclass(frozen=True)
class _Voi:
    """A VOI transform (PS3.3, C.11.2), from values to 0 to 1."""

    transform: Transform
    window: tuple[float, float] | None
    """The values that become 0 and 1 where it is a straight line between these; None where it is a curve."""
    is_linear: bool = False
    """Whether its function is LINEAR, whose width is one more than from the one to the other."""


def _vois(dataset: "Dataset", layout: _Layout) -> Iterator[_Voi]:
    """Yield the usable VOI tables, then the usable windows, in the order of the file (PS3.3, C.11.2)."""
    for item in _items(dataset, "VOILUTSequence"):
        table = _table(dataset, item, layout)
        if table is not None:
            yield _Voi(table.part, None)
    function = _word(dataset, "VOILUTFunction")
    windows = zip(_numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth"), strict=False)
    for center, width in islice(windows, _MOST_CHOICES):
        window = _window(function, center, width)
        if window is not None:
            yield window


def _window(function: str, center: float | None, width: float | None) -> _Voi | None:
    """Return a window as a transform to 0 to 1 (PS3.3, C.11.2.1.2 and .3); None where it cannot be one.

    An unknown function counts as none, which means LINEAR.
    """
    if center is None or width is None or width <= 0:
        return None
    if function == "SIGMOID":
        return _Voi(lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))), None)
    if function == "LINEAR_EXACT":
        exact = (center - width / 2, center + width / 2)
        return _Voi(lambda values: np.clip((values - center) / width + 0.5, 0, 1), exact)
    if width < 1:
        return None
    ends = (center - width / 2, center + width / 2 - 1)
    if width == 1:
        step = lambda values: np.where(np.isnan(values), np.nan, (values > center - 0.5).astype(np.float64))  # noqa: E731
        return _Voi(step, ends, is_linear=True)
    ramp = lambda values: np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)  # noqa: E731
    return _Voi(ramp, ends, is_linear=True)


def _shows(drawn: np.ndarray, counts: np.ndarray) -> bool:
    """Tell whether a VOI transform, which gives 0 to 1, leaves something of the image to see."""
    population = grayscale.Population(drawn, counts)
    return bool(population.values.size) and population.quantile(0.95) - population.quantile(0.05) >= _LEAST_SHOWN


def _one_after_the_other(first: Transform, second: Transform) -> Transform:
    return lambda samples: second(first(samples))


@dataclass(frozen=True)
class _Table:
    """A lookup table (PS3.3, C.11.1.1)."""

    first: float
    """The value that its first entry is for; what is below has the same, what is beyond the last has the last."""
    entries: np.ndarray
    """Float64."""
    bits: int
    """Of an entry."""

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Return the entry of each value; NaN for NaN."""
        is_known = np.isfinite(values)
        places = np.clip(np.rint(np.where(is_known, values, self.first)) - self.first, 0, self.entries.size - 1)
        return np.where(is_known, self.entries[places.astype(np.int64)], np.nan)

    def part(self, values: np.ndarray) -> np.ndarray:
        """Return entries as parts of the way from the lowest to the highest."""
        low, high = float(self.entries.min()), float(self.entries.max())
        return (self.look_up(values) - low) / (high - low)


def _table(dataset: "Dataset", item: "Dataset", layout: _Layout) -> _Table | None:
    """Read a lookup table; None where it lacks its data, or says the same of all values.

    The entries' depth in its descriptor is often wrong (9 for 12 bits) and decides nothing but how they are packed.
    """
    descriptor = _numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or None in descriptor:
        return None
    count, first, depth = (int(number or 0) for number in descriptor)
    count = count % _WHOLE_TABLE or _WHOLE_TABLE
    entries = _entries(item, count, depth, is_little=_is_little(dataset))
    if entries is None or entries.min() == entries.max():
        return None
    if first >= _WHOLE_TABLE // 2 and (layout.is_signed or (_number(dataset, "RescaleIntercept") or 0.0) < 0):
        first -= _WHOLE_TABLE
    bits = max(int(entries.max()).bit_length(), min(depth, 16))
    return _Table(float(first), entries.astype(np.float64), bits)


def _entries(item: "Dataset", count: int, depth: int, *, is_little: bool) -> np.ndarray | None:
    """Return a table's entries; None where they are fewer than it says."""
    data = item.get("LUTData")
    if isinstance(data, bytes):
        is_packed = depth <= _FEW_BITS and len(data) < 2 * count
        data = np.frombuffer(data[: len(data) // 2 * 2], "u1" if is_packed else "<u2" if is_little else ">u2")
    elif isinstance(data, Sequence) and all(isinstance(entry, int) and 0 <= entry < _WHOLE_TABLE for entry in data):
        data = np.asarray(data, dtype=np.uint16)
    else:
        return None
    return data[:count] if len(data) >= count else None


def _is_little(dataset: "Dataset") -> bool:
    return dataset.original_encoding[1] is not False


def _items(dataset: "Dataset", keyword: str) -> "Sequence[Dataset]":
    """Return the items of a sequence; none where something else is in its place."""
    from pydicom import Sequence as Items  # noqa: PLC0415  # pydicom is loaded by whoever has a dataset

    value = dataset.get(keyword)
    return list(value)[:_MOST_CHOICES] if isinstance(value, Items) else []


def _word(dataset: "Dataset", keyword: str) -> str:
    value = dataset.get(keyword)
    return value.strip().upper() if isinstance(value, str) else ""


def _number(dataset: "Dataset", keyword: str) -> float | None:
    """Return the first number of an element; None where there is none that can be used."""
    return (*_numbers(dataset, keyword), None)[0]


def _numbers(dataset: "Dataset", keyword: str) -> list[float | None]:
    """Return the numbers of an element, None for each that cannot be used."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, (str, int, float)) or not isinstance(value, Sequence):
        value = [value]
    return [_as_number(each) for each in value]


def _as_number(value: Any) -> float | None:
    """Read a number; some write it with a decimal comma (PS3.5, 6.2, knows the point alone)."""
    if isinstance(value, str):
        try:
            value = float(value.strip().replace(",", "."))
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > _MOST:
        return None
    return float(value)


def _whole(value: object, least: int, most: int) -> int | None:
    """Return a whole number within bounds; None for anything else."""
    return value if isinstance(value, int) and least <= value <= most else None
