"""Suspicion: p(pneumonia) as a number from 0 to 100 with its threshold, and its bands and words on every page."""

from enum import StrEnum
from typing import Final

from shared.models.spec import Label
from web.languages.text import N_, NC_, decimal

NEAR: Final = 0.10
"""The distance that counts as near the threshold. An X-ray and its own reduced copy differ by up to 0.06
(benchmarks/parity.py), so within that the same patient could be on either side; 0.10 is that rounded up."""

_MOST_DECIMALS: Final = 6


class Band(StrEnum):
    """The position of a suspicion relative to the threshold."""

    BELOW = "below"
    NEAR = "near"
    ABOVE = "above"


BANDS: Final[dict[Band, str]] = {
    Band.BELOW: N_("Below the threshold"),
    Band.NEAR: N_("Near the threshold"),
    Band.ABOVE: N_("Above the threshold"),
}
FLAGS: Final[dict[Label, str]] = {
    Label.NORMAL: NC_("an X-ray", "Not flagged"),
    Label.PNEUMONIA: NC_("an X-ray", "Flagged"),
}
COUNTED_FLAGS: Final[dict[Label, str]] = {
    Label.NORMAL: NC_("a number of X-rays", "Not flagged"),
    Label.PNEUMONIA: NC_("a number of X-rays", "Flagged"),
}


def near(threshold: float) -> tuple[float, float]:
    """Return the limits of the band around a threshold; it never takes more than half of either side."""
    return threshold - min(NEAR, threshold / 2), threshold + min(NEAR, (1 - threshold) / 2)


def band(p_pneumonia: float, threshold: float) -> Band:
    """Return the band of an image."""
    low, high = near(threshold)
    if p_pneumonia < low:
        return Band.BELOW
    return Band.NEAR if p_pneumonia < high else Band.ABOVE


def number(p_pneumonia: float, threshold: float) -> str:
    """Write a suspicion with just enough decimals to show its side of the threshold; no model is certain."""
    decimals = _decimals(p_pneumonia, threshold)
    text = _write(p_pneumonia, decimals)
    if decimals == 0 and p_pneumonia > 0 and text == "0":
        return "<1"
    return ">99" if decimals == 0 and p_pneumonia < 1 and text == "100" else text


def threshold_number(p_pneumonia: float, threshold: float) -> str:
    """Write a threshold with as many decimals as the suspicion next to it."""
    return _write(threshold, _decimals(p_pneumonia, threshold))


def _decimals(p_pneumonia: float, threshold: float) -> int:
    if p_pneumonia == threshold:
        return 0
    for decimals in range(_MOST_DECIMALS):
        # In any language: they differ only in separators.
        if f"{p_pneumonia * 100:.{decimals}f}" != f"{threshold * 100:.{decimals}f}":
            return decimals
    return _MOST_DECIMALS


def _write(value: float, decimals: int) -> str:
    return decimal(value * 100, decimals)
