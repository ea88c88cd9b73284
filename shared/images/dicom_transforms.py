"""DICOM: from a radiograph's stored samples to 8-bit grey, or to full depth.

The steps are the same for all depths (PS3.4, N.2): stored bits, pixel padding, modality transform, VOI transform,
polarity. Unusable transforms are skipped, as if the file did not have them. Overlays are not drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.images import full_depth, grayscale
from shared.images.dicom_layout import Layout, find_padding, refuse_if_overflowing
from shared.images.dicom_numbers import MOST_CHOICES, items, number, numbers, word
from shared.images.dicom_spacing import read_spacing, shown_size
from shared.images.dicom_tables import read_table

if TYPE_CHECKING:
    from pydicom import Dataset

_DARK_IS_HIGH: Final = "MONOCHROME1"  # PS3.3, C.7.6.3.1.2
_FEW_BITS: Final = 8
"""Samples of up to this many bits are rendered by their possible range, deeper ones by their actual range: detectors
use 10 to 16 of 16 bits, and rarely say which."""
_LEAST_SHOWN: Final = 1 / 16
"""Of a window or VOI table: where 90 % of the samples fall into a sixteenth of its greys, it misses the image."""

Transform = Callable[[np.ndarray], np.ndarray]


def to_grey(samples: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Render a radiograph's stored samples as uint8 of the same shape, dark is low.

    `samples` are whole containers, unused bits included, where the file stores them so; else the stored bits.
    Raises ImageRejected where they contradict the header.
    """
    meaning = _Meaning.of(samples, dataset)
    values, bounds, voi = meaning.values, meaning.bounds, meaning.voi
    if voi is not None:
        values, bounds = _one_after_the_other(values, voi.transform), None
    return grayscale.draw(samples, values, bounds=bounds, is_inverse=meaning.is_inverse)


def at_full_depth(samples: np.ndarray, dataset: "Dataset") -> full_depth.FullDepth:
    """Return a radiograph's stored samples at full depth, with the window in which `to_grey` draws them.

    Values are those after the modality transform, to which windows apply (PS3.3, C.11.2). A VOI transform that is not
    linear - a table, a sigmoid - is applied, and its output is windowed. Pixels are square.
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
    return replace(deep.resized(size), spacing=read_spacing(dataset, size), is_linear=is_linear)


@dataclass(frozen=True)
class _Meaning:
    """The meaning of a radiograph's stored samples, and the range that the file displays."""

    values: Transform
    """From containers to the values after the modality transform; NaN for padding."""
    bounds: tuple[float, float] | None
    """Range of possible outputs, where bits are few."""
    step: float | None
    """Step between values of successive samples; None where these are no whole numbers."""
    bits: int
    voi: "_Voi | None"
    is_inverse: bool

    @classmethod
    def of(cls, samples: np.ndarray, dataset: "Dataset") -> "_Meaning":
        found, counts = grayscale.present(samples)
        layout = Layout.of(dataset, samples)
        is_padding = find_padding(layout, dataset, found, counts)
        refuse_if_overflowing(layout, found[~is_padding(found)], counts[~is_padding(found)])
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


@dataclass(frozen=True)
class _Modality:
    """A modality transform (PS3.3, C.11.1)."""

    transform: Transform
    bounds: tuple[float, float] | None
    """Range of possible outputs, where bits are few."""
    step: float | None
    bits: int


def _modality(dataset: "Dataset", layout: Layout) -> _Modality:
    """Return the first usable table, else the rescaling."""
    for item in items(dataset, "ModalityLUTSequence"):
        table = read_table(dataset, item, is_signed=layout.is_signed)
        if table is not None:
            bounds = (0.0, float((1 << table.bits) - 1)) if table.bits <= _FEW_BITS else None
            return _Modality(table.look_up, bounds, 1.0, table.bits)
    slope, intercept = number(dataset, "RescaleSlope") or 1.0, number(dataset, "RescaleIntercept") or 0.0

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
    """The values mapped to 0 and 1 where it is linear between them; None where it is not linear."""
    is_linear: bool = False
    """Whether its function is LINEAR, whose width is one more than the distance between these."""


def _vois(dataset: "Dataset", layout: Layout) -> Iterator[_Voi]:
    """Yield the usable VOI tables, then the usable windows, in the order of the file (PS3.3, C.11.2)."""
    for item in items(dataset, "VOILUTSequence"):
        table = read_table(dataset, item, is_signed=layout.is_signed)
        if table is not None:
            yield _Voi(table.part, None)
    function = word(dataset, "VOILUTFunction")
    windows = zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False)
    for center, width in islice(windows, MOST_CHOICES):
        window = _window(function, center, width)
        if window is not None:
            yield window


def _window(function: str, center: float | None, width: float | None) -> _Voi | None:
    """Return a window as a transform to 0 to 1 (PS3.3, C.11.2.1.2 and .3); None where it is invalid.

    An unknown function counts as missing, which means LINEAR.
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
    """Tell whether a VOI transform, whose output is 0 to 1, leaves the image visible."""
    population = grayscale.Population(drawn, counts)
    return bool(population.values.size) and population.quantile(0.95) - population.quantile(0.05) >= _LEAST_SHOWN


def _one_after_the_other(first: Transform, second: Transform) -> Transform:
    return lambda samples: second(first(samples))
