"""Which characters the fonts of reports have; what they lack is written as its number in Unicode, never left out."""

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
    "DroidSansFallbackFull.ttf",  # Chinese and Japanese; the largest, so the last to be opened
)
"""Asked in this order for what the first font lacks."""

_JOINERS: Final = "\u200c\u200d"
"""They part or join letters of Arabic and Indian scripts, which shaping needs."""
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"


def printable(text: str) -> str:
    """Write a text so that all of it shows: `[U+1F600]` stands for a character without a glyph, or one that acts.

    Characters that act are controls, and those that turn the direction of a text so that a name looks like another.
    """
    return "".join(letter if _shows(letter) else f"[U+{ord(letter):04X}]" for letter in text)


def shorten(text: str, most: int) -> str:
    """Cut a long text in its middle: beginning and end tell a name from others."""
    if len(text) <= most:
        return text
    end = most // 2
    return text[: most - end - 1] + _CUT + text[-end:]


def has_right_to_left(text: str) -> bool:
    """Tell whether a text has a letter that is written from right to left."""
    return any(unicodedata.bidirectional(letter) in {"R", "AL"} for letter in text)


def fallbacks_of(text: str) -> set[str]:
    """Return the fonts that a text needs beside the first."""
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
    # Controls, marks that act, halves of characters, private and unassigned ones, and what breaks a line.
    category = unicodedata.category(letter)
    return not category.startswith("C") and category not in {"Zl", "Zp"} and _font_of(letter) is not None
