"""Convert stored samples of any width to 8-bit grey: choose the range drawn from black to white."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

TAIL: Final = 0.005
"""Share of the samples at either end that cannot set the range alone: hot and dead pixels, a dead column, a lead
marker. With 0.1 % one column of a detector with 1,000 could."""
REACH: Final = 0.5
"""How far outside the range of the other 99 % samples may lie, as a fraction of that range, and still be included. Of
6,600 chest X-rays from six sources 98.9 % have no sample outside: their range is simply the lowest to the highest."""

Values = Callable[[np.ndarray], np.ndarray]
"""From stored samples to their values, as float64; NaN is no value, and drawn black."""

_STRIP_ROWS: Final = 128
_NARROWEST: Final = 1e-300  # a 255th of less is not a normal number
_WIDEST_TABLE: Final = 2  # bytes: 65,536 values
_MOST_DRAWN: Final = 262_144
_STEP: Final = 1_048_573  # a prime, so that samples at multiples of it are spread over all columns


class Population:
    """The distinct values of an image, with their counts."""

    def __init__(self, values: np.ndarray, counts: np.ndarray) -> None:
        is_known = np.isfinite(values)
        order = np.argsort(values[is_known], kind="stable")
        self.values: np.ndarray = values[is_known][order]
        """Float64, in ascending order."""
        self._shares = np.cumsum(counts[is_known][order], dtype=np.float64)
        self.share = float(self._shares[-1] / counts.sum()) if self.values.size else 0.0
        """The fraction of samples that have a value."""

    def quantile(self, share: float) -> float:
        """Return the value that this share of the samples does not exceed."""
        return float(self.values[np.searchsorted(self._shares, share * self._shares[-1])])

    def inner(self) -> tuple[float, float]:
        """Return the bounds outside which samples do not affect the range, see TAIL and REACH."""
        low, high = self.quantile(TAIL), self.quantile(1 - TAIL)
        reach = REACH * (high - low)
        return low - reach, high + reach

    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest value within the bounds of `inner`."""
        low, high = self.inner()
        within = self.values[(self.values >= low) & (self.values <= high)]
        return float(within[0]), float(within[-1])


def as_numbers(samples: np.ndarray) -> np.ndarray:
    """Return samples as float64: their values are the samples themselves."""
    return samples.astype(np.float64)


def is_tabled(samples: np.ndarray) -> bool:
    """Tell whether an image's samples are narrow enough to convert by a lookup table."""
    return samples.dtype.kind in "iu" and samples.dtype.itemsize <= _WIDEST_TABLE


def present(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct samples of an image and their counts; for wide ones a selection, counted once each."""
    if not is_tabled(samples):
        drawn = _draw_some(samples)
        return drawn, np.ones(drawn.size, dtype=np.int64)
    codes = _codes(samples)
    counts = np.zeros(np.iinfo(codes.dtype).max + 1, dtype=np.int64)
    for strip in _strips(codes):
        counts += np.bincount(strip.ravel(), minlength=counts.size)
    found = np.flatnonzero(counts)
    return found.astype(codes.dtype).view(samples.dtype.newbyteorder("=")), counts[found]


def draw(
    samples: np.ndarray,
    values: Values = as_numbers,
    *,
    bounds: tuple[float, float] | None = None,
    is_inverse: bool = False,
) -> np.ndarray:
    """Draw an image's samples as uint8 of the same shape, from `bounds` or by their own range (`Population.range`).

    `is_inverse` draws the highest black. Samples without value are black either way.
    """
    if not is_tabled(samples):
        return _draw_wide(samples, values, bounds, is_inverse=is_inverse)
    codes = _codes(samples)
    found, counts = present(samples)
    meant = values(found)
    table: np.ndarray = np.zeros(np.iinfo(codes.dtype).max + 1, dtype=np.uint8)
    table[_codes(found)] = to_bytes(meant, bounds or _range(Population(meant, counts)), is_inverse=is_inverse)
    grey: np.ndarray = table[codes]
    return grey


def convert(samples: np.ndarray, make: Callable[[np.ndarray], np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """Apply `make` to every sample of an image: by a lookup table where samples are narrow, else in strips."""
    if not is_tabled(samples):
        made: np.ndarray = np.empty(samples.shape, dtype=dtype)
        for strip, into in zip(_strips(samples), _strips(made), strict=True):
            into[...] = make(strip)
        return made
    codes = _codes(samples)
    found, _ = present(samples)
    table: np.ndarray = np.zeros(np.iinfo(codes.dtype).max + 1, dtype=dtype)
    table[_codes(found)] = make(found)
    whole: np.ndarray = table[codes]
    return whole


def range_of(samples: np.ndarray, values: Values = as_numbers) -> tuple[float, float]:
    """Return the values drawn black and white by default (`Population.range`)."""
    if not is_tabled(samples):
        return _range_of_wide(samples, values)
    found, counts = present(samples)
    return _range(Population(values(found), counts))


def limits_of(samples: np.ndarray, values: Values = as_numbers) -> tuple[float, float, bool]:
    """Return the lowest and the highest value, and whether some samples have none.

    For wide samples they are those of `range_of`, as single ones may be arbitrary.
    """
    if not is_tabled(samples):
        has_gaps = any(not np.isfinite(values(strip)).all() for strip in _strips(samples))
        return *_range_of_wide(samples, values), has_gaps
    meant = values(present(samples)[0])
    known = meant[np.isfinite(meant)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return low, high, known.size < meant.size


def to_bytes(values: np.ndarray, bounds: tuple[float, float], *, is_inverse: bool = False) -> np.ndarray:
    """Map float64 values to 0 to 255, clipped at the bounds; NaN and infinite ones to 0."""
    low, high = bounds
    if not _NARROWEST < high - low < np.inf:
        return np.zeros(values.shape, dtype=np.uint8)
    is_known = np.isfinite(values)
    clipped = np.clip(np.where(is_known, values, low), low, high)
    grey = np.rint((clipped - low) * (255.0 / (high - low))).astype(np.uint8)
    return np.where(is_known, 255 - grey if is_inverse else grey, np.uint8(0))


def _draw_wide(
    samples: np.ndarray, values: Values, bounds: tuple[float, float] | None, *, is_inverse: bool
) -> np.ndarray:
    """Draw samples of more than 16 bits, or floats, in strips: in float64 an image of 15 megapixels takes 120 MB."""
    bounds = bounds or _range_of_wide(samples, values)
    grey = np.empty(samples.shape, dtype=np.uint8)
    for strip, into in zip(_strips(samples), _strips(grey), strict=True):
        into[...] = to_bytes(values(strip), bounds, is_inverse=is_inverse)
    return grey


def _range_of_wide(samples: np.ndarray, values: Values) -> tuple[float, float]:
    """Return the range of all samples within bounds computed from some of them."""
    drawn = values(_draw_some(samples))
    population = Population(drawn, np.ones(drawn.size))
    if not population.values.size:
        return 0.0, 0.0
    low, high = population.inner()
    lowest, highest = high, low
    for strip in _strips(samples):
        found = values(strip)
        within = found[(found >= low) & (found <= high)]
        if within.size:
            lowest, highest = min(lowest, float(within.min())), max(highest, float(within.max()))
    return lowest, highest


def _range(population: Population) -> tuple[float, float]:
    return population.range() if population.values.size else (0.0, 0.0)


def _draw_some(samples: np.ndarray) -> np.ndarray:
    flat = samples.reshape(-1)
    if flat.size <= _MOST_DRAWN:
        return flat
    return flat[np.arange(_MOST_DRAWN, dtype=np.int64) * _STEP % flat.size]


def _codes(samples: np.ndarray) -> np.ndarray:
    """Reinterpret integer samples as unsigned numbers of the same bits, in native byte order."""
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{native.dtype.itemsize}")


def _strips(samples: np.ndarray) -> Iterator[np.ndarray]:
    for top in range(0, samples.shape[0], _STRIP_ROWS):
        yield samples[top : top + _STRIP_ROWS]
