"""Which letters of a text from outside are shown, and which would hide, turn or break what is around them."""

from typing import Final
from unicodedata import category

_JOINERS: Final = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Formatting signs that Persian, the scripts of India and emoji need within words."""


def is_shown(letter: str) -> bool:
    """Tell whether a letter can stand in a name: no control, no mark that turns the direction, no break of the line."""
    return letter in _JOINERS or letter.isprintable() or category(letter) == "Zs"


def make_shown(text: str) -> str:
    """Replace each letter that cannot be shown."""
    return "".join(letter if is_shown(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)
