"""File names on pages: where a line may break."""

import re
from typing import Final

from markupsafe import Markup, escape

_AFTER: Final = re.compile(r"(?<=[/_\\-])(?=.)")


def breakable(name: str) -> Markup:
    """Let a line break after each slash, hyphen and underscore of a file name, so that it is not broken within a word.

    Copied or read aloud, it is the name alone (HTML standard, the wbr element).
    """
    return Markup(_AFTER.sub("<wbr>", str(escape(name))))  # noqa: S704  # escaped; no entity has such a sign in it
