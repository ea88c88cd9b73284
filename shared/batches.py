"""Split iterables into batches."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in batches of up to `size`; Python has this since 3.12."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
