"""Sort file names in natural order: folder by folder, and 2 before 10."""

import re
from typing import Final

_DIGITS: Final = re.compile(r"([0-9]+)")

Key = tuple[tuple[tuple[int, int, str], ...], ...]


def natural_key(path: str) -> tuple[Key, str]:
    """Return the sort key of a path with slashes; names that differ only in case or leading zeros stay distinct."""
    return tuple(tuple(map(_part_key, _DIGITS.split(name))) for name in path.split("/")), path


def _part_key(part: str) -> tuple[int, int, str]:
    if _DIGITS.fullmatch(part):
        number = part.lstrip("0")
        # By length first: Python refuses to parse numbers of more than 4,300 digits.
        return 0, len(number), number
    return 1, 0, part.casefold()
