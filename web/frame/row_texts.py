"""Addresses and translated texts that a page with many rows computes once, not for each row."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from flask import url_for

from web.languages.text import translate

K = TypeVar("K")

_HOLE: Final = uuid.UUID(int=0)


def addresses(endpoint: str, name: str, **values: Any) -> Callable[[uuid.UUID], str]:
    """Return a function that writes a row's address by its id; `name` is the id's name in the path of the view."""
    holed: dict[str, Any] = {**values, name: _HOLE}
    start, _, end = url_for(endpoint, **holed).partition(str(_HOLE))
    return lambda key: f"{start}{key}{end}"


def translated(words: Mapping[K, str]) -> dict[K, str]:
    """Return texts translated into the reader's language."""
    return {key: translate(word) for key, word in words.items()}
