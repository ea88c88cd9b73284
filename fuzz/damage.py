"""Format-agnostic mutations: bit flips, cuts, splices and numbers at the edges of their ranges."""

import random
from collections.abc import Callable, Sequence
from typing import Final

Damage = Callable[[bytearray, random.Random], bytearray]

# Values where parsers miss a bound: zero, sign changes, and one more than fits.
EDGES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_HEADER_BYTES: Final = 2048
"""Most of what a parser decides on is in these first bytes; half of all damage is done here."""


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    """Flip one to 64 bits."""
    for _ in range(2 ** rng.randrange(7)):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def cut(data: bytearray, rng: random.Random) -> bytearray:
    """Cut the end off."""
    return data[: rng.randrange(len(data))]


def write_edge(data: bytearray, rng: random.Random) -> bytearray:
    """Write a number at the edge of its range over one to eight bytes."""
    width, place = rng.choice((1, 2, 4, 8)), _place(data, rng)
    value = rng.choice(EDGES) % 256**width
    data[place : place + width] = value.to_bytes(width, rng.choice(("little", "big")))
    return data


def remove(data: bytearray, rng: random.Random) -> bytearray:
    """Remove a piece."""
    start, end = _span(data, rng)
    del data[start:end]
    return data


def repeat(data: bytearray, rng: random.Random) -> bytearray:
    """Repeat a piece several times."""
    start, end = _span(data, rng)
    data[start:start] = data[start:end] * rng.choice((1, 2, 16))
    return data


def blank(data: bytearray, rng: random.Random) -> bytearray:
    """Write one byte over a piece."""
    start, end = _span(data, rng)
    data[start:end] = bytes([rng.choice((0, 0xFF, rng.randrange(256)))]) * (end - start)
    return data


def move(data: bytearray, rng: random.Random) -> bytearray:
    """Put a piece somewhere else."""
    start, end = _span(data, rng)
    piece = data[start:end]
    del data[start:end]
    place = _place(data, rng) if data else 0
    data[place:place] = piece
    return data


def scatter(data: bytearray, rng: random.Random) -> bytearray:
    """Write random bytes over a piece."""
    start, end = _span(data, rng)
    data[start:end] = rng.randbytes(end - start)
    return data


ALL: Final[Sequence[Damage]] = (flip_bits, flip_bits, cut, write_edge, write_edge, remove, repeat, blank, move, scatter)


def damage(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """Damage a file one to `most` times."""
    found = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if found:
            found = rng.choice(ALL)(found, rng)
    return bytes(found)


def splice(one: bytes, other: bytes, rng: random.Random) -> bytes:
    """Continue one file with another from somewhere in the middle."""
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


def _place(data: bytearray, rng: random.Random) -> int:
    return rng.randrange(min(len(data), _HEADER_BYTES) if rng.random() < 0.5 else len(data))


def _span(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = _place(data, rng)
    return start, min(len(data), start + 2 ** rng.randrange(13))
