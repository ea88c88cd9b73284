"""Check which characters the reports' fonts have; others are written as Unicode numbers, never omitted."""

import unicodedata
from functools import cache
from pathlib import Path
from typing import Final

FONTS: Final = Path(__file__).with_name("fonts")
PLAIN: Final = "DejaVuSans.ttf"
BOLD: Final = "DejaVuSans-Bold.ttf"
FALLBACKS: Final = (
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansBengali-Regular.ttf",
    "NotoSansGurmukhi-Regular.ttf",
    "NotoSansGujarati-Regular.ttf",
    "NotoSansTamil-Regular.ttf",
    "NotoSansTelugu-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "DroidSansFallbackFull.ttf",  # Chinese and Japanese; the largest, so opened last
)
"""Fallback fonts, in this order, for characters missing in the first."""

_JOINERS: Final = "\u200c\u200d"
"""Non-joiner and joiner of Arabic and Indian scripts, which shaping needs."""
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    """Make a text fully visible: `[U+1F600]` stands for a character without a glyph, or a control character.

    Control characters include those that change text direction, which could make one name look like another.
    """
    return "".join(letter if _shows(letter) else f"[U+{ord(letter):04X}]" for letter in text)


def shorten(text: str, most: int) -> str:
    """Shorten a long text in the middle: beginning and end distinguish names."""
    if len(text) <= most:
        return text
    end = most // 2
    return text[: most - end - 1] + _CUT + text[-end:]


def has_right_to_left(text: str) -> bool:
    """Tell whether a text contains right-to-left letters."""
    return any(unicodedata.bidirectional(letter) in {"R", "AL"} for letter in text)


def fallbacks_of(text: str) -> set[str]:
    """Return the fallback fonts that a text needs."""
    found = {_font_of(letter) for letter in set(text) - set(_JOINERS)}
    return {name for name in found if name is not None and name != PLAIN}


@cache
def _glyphs(name: str) -> frozenset[int]:
    """Return the characters that a font has."""
    from fontTools.ttLib import TTFont  # noqa: PLC0415  # loads with the first report

    with TTFont(FONTS / name, lazy=True) as font:
        return frozenset(font.getBestCmap())


def _font_of(letter: str) -> str | None:
    return next((name for name in (PLAIN, *FALLBACKS) if ord(letter) in _glyphs(name)), None)


def _shows(letter: str) -> bool:
    if letter in _JOINERS:
        return True
    # Control, format, surrogate, private and unassigned characters, and line separators.
    category = unicodedata.category(letter)
    return not category.startswith("C") and category not in {"Zl", "Zp"} and _font_of(letter) is not None
