"""Which characters of external text are displayed, and which would hide, reverse or break the text around them."""

from typing import Final
from unicodedata import category

_JOINERS: Final = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Formatting signs that Persian, the scripts of India and emoji need within words."""


def is_shown(letter: str) -> bool:
    """Tell whether a character may appear in a name: no control, no bidirectional mark, no line break."""
    return letter in _JOINERS or letter.isprintable() or category(letter) == "Zs"


def make_shown(text: str) -> str:
    """Replace each character that may not be displayed."""
    return "".join(letter if is_shown(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)
