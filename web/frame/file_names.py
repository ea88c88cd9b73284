"""File names on pages: where a line may be broken."""

import re
from typing import Final

from markupsafe import Markup, escape

_AFTER: Final = re.compile(r"(?<=[/_\\-])(?=.)")


def breakable(name: str) -> Markup:
    """Let a line break after each slash, hyphen and underscore of a file name, so that it is not broken within a word.

    What is copied from the page, or read aloud, is the name alone (HTML standard, the wbr element).
    """
    return Markup("<wbr>").join(escape(part) for part in _AFTER.split(name))
