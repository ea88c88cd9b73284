"""Statistics of quality figures: confidence intervals, kappa, a two-sample test and quantiles of counts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Z: Final = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
BINS: Final = 10
"""Of equal width, for calibration."""
_TERMS: Final = 100
_NO_SPREAD: Final = 1e-12
"""Variation per answer; anything smaller is a rounding error of zero."""
_Value = TypeVar("_Value", int, float)


@dataclass(frozen=True)
class Share:
    """A proportion with its 95 % Wilson interval (1927)."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """Return the share, 0 to 1; None where the whole is empty."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the bounds, 0 to 1, both of which an empty whole has."""
        if not self.whole:
            return 0.0, 1.0
        n, p = self.whole, self.part / self.whole
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None
    """None where both never or always differed: the variance estimated from the counts is then zero."""


def cohens_kappa(table: Sequence[Sequence[int]]) -> Kappa | None:
    """Return kappa of a square table of counts; None where it is empty or one side used only one class.

    In the latter case kappa is 0 whatever the other side said, and so is its variance.

    The interval is by the large-sample variance of Fleiss, Cohen and Everitt 1969.
    """
    n, classes = sum(map(sum, table)), range(len(table))
    if n == 0:
        return None
    p = [[count / n for count in row] for row in table]
    rows, columns = [sum(row) for row in p], [sum(row[i] for row in p) for i in classes]
    if n in {*map(sum, table), *(sum(row[i] for row in table) for i in classes)}:
        return None
    chance = sum(rows[i] * columns[i] for i in classes)
    kappa = (sum(p[i][i] for i in classes) - chance) / (1 - chance)
    agreed = sum(p[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in classes)
    apart = sum(p[i][j] * (columns[i] + rows[j]) ** 2 for i in classes for j in classes if i != j)
    spread = agreed + (1 - kappa) ** 2 * apart - (kappa - chance * (1 - kappa)) ** 2
    error = math.sqrt(max(0.0, spread) / n) / (1 - chance)
    if sum(table[i][i] for i in classes) == n:
        return Kappa(1.0, None)
    if spread < _NO_SPREAD:
        return Kappa(kappa, None)
    return Kappa(kappa, (max(-1.0, kappa - Z * error), min(1.0, kappa + Z * error)))


@dataclass(frozen=True)
class Gap:
    """The outcome of a two-sample Kolmogorov-Smirnov test."""

    distance: float
    """The largest difference of the two cumulative distributions, 0 to 1."""
    p_value: float


def compare_counts(before: Mapping[int, int], after: Mapping[int, int]) -> Gap | None:
    """Test whether two sets of counts by value come from one distribution; None where one of them is empty.

    The p-value is of the limiting distribution (Kolmogorov 1933); ties make it too large rather than too small.
    """
    first, second = sum(before.values()), sum(after.values())
    if not first or not second:
        return None
    distance, left, right = 0.0, 0, 0
    for value in sorted({*before, *after}):
        left, right = left + before.get(value, 0), right + after.get(value, 0)
        distance = max(distance, abs(left / first - right / second))
    return Gap(distance, _exceeds(distance * math.sqrt(first * second / (first + second))))


def _exceeds(scaled: float) -> float:
    """Return the probability that chance alone makes a larger gap."""
    if scaled < 0.2:  # the series converges slowly here, and its sum is 1 to twelve digits
        return 1.0
    terms = ((-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, _TERMS))
    return min(1.0, max(0.0, 2 * sum(terms)))


def quantile(counts: Mapping[_Value, int], share: float) -> _Value | None:
    """Return the smallest value that at least `share` of all counted do not exceed; None of no counts."""
    wanted, met = share * sum(counts.values()), 0
    for value in sorted(counts):
        met += counts[value]
        if met >= wanted:
            return value
    return None


@dataclass(frozen=True)
class Bin:
    """Images of similar probability, and how many of them are pneumonia."""

    low: float
    high: float
    predicted: float
    """Their mean probability."""
    observed: Share


def reliability(pairs: Iterable[tuple[float, bool]]) -> list[Bin]:
    """Return the non-empty bins of equal width, from probability and true label of each image."""
    held: dict[int, list[tuple[float, bool]]] = {}
    for p, is_ill in pairs:
        held.setdefault(min(int(p * BINS), BINS - 1), []).append((p, is_ill))
    return [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            sum(p for p, _ in some) / len(some),
            Share(sum(is_ill for _, is_ill in some), len(some)),
        )
        for place, some in sorted(held.items())
    ]


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Return the expected calibration error of bins, 0 to 1; None where there are none."""
    images = sum(one.observed.whole for one in bins)
    gaps = (abs(one.observed.part - one.predicted * one.observed.whole) for one in bins)
    return sum(gaps) / images if images else None


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float | None, float | None]:
    """Return PPV and NPV at a share `prevalence` of pneumonia (Bayes); None where no image gets that label."""
    found, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _part(found, found + alarms), _part(cleared, cleared + missed)


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
