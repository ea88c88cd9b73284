"""Make one hostile file from a seed and a number, reproducibly on every machine with the same seed files."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fuzz import damage, radiographs, zips
from fuzz.headers import LIES, mend_png
from fuzz.seeds import Seed

ZIP: Final = "zip"
_SHARES: Final = {"jpeg": 25, "png": 15, "tiff": 15, "dicom": 15, ZIP: 15, "bmp": 7, "webp": 7, "gif": 1}
_WHOLE_SHARE: Final = 0.03
"""Some files are left unchanged: what is not refused must be prepared."""


@dataclass(frozen=True)
class Case:
    """One file to send."""

    number: int
    kind: str
    """Its original format: jpeg, png, tiff, bmp, webp, gif, dicom or zip."""
    made: str
    """How it was made, in words."""
    file_name: str
    data: bytes


def make_case(seeds: Sequence[Seed], seed: int, number: int) -> Case:
    """Make file `number` of the run `seed`."""
    rng = random.Random(f"{seed}:{number}")
    (kind,) = rng.choices(list(_SHARES), list(_SHARES.values()))
    if kind == ZIP:
        return _make_zip(seeds, rng, number)
    chosen = rng.choice([item for item in seeds if item.kind == kind])
    made, data = _mutate(chosen, seeds, rng)
    return Case(number, kind, f"{made} of {chosen.name}", f"{number}.{kind}", data)


def _mutate(chosen: Seed, seeds: Sequence[Seed], rng: random.Random) -> tuple[str, bytes]:
    share = rng.random()
    if share < _WHOLE_SHARE:
        return "copy", chosen.data
    if share < 0.08:
        other = rng.choice(seeds)
        return f"splice with {other.name}", damage.splice(chosen.data, other.data, rng)
    if share < 0.5 or (chosen.kind not in LIES and chosen.kind != "dicom"):
        data = damage.damage(chosen.data, rng)
        return "damage", mend_png(data) if chosen.kind == "png" and rng.random() < 0.6 else data
    data = radiographs.attack(chosen.data, rng) if chosen.kind == "dicom" else LIES[chosen.kind](chosen.data, rng)
    return ("lie", data) if rng.random() < 0.8 else ("lie and damage", damage.damage(data, rng, most=2))


def _make_zip(seeds: Sequence[Seed], rng: random.Random, number: int) -> Case:
    small = [item for item in seeds if len(item.data) < 200_000]
    chosen = [rng.choice(small) for _ in range(rng.randint(1, 5))]
    images = [item.data if rng.random() < 0.5 else _mutate(item, small, rng)[1] for item in chosen]
    attack = rng.choice(zips.ATTACKS)
    data = attack(images, rng)
    made = f"{attack.__name__} of {len(images)} images"
    if rng.random() < 0.3:
        made, data = f"damage after {made}", damage.damage(data, rng)
    return Case(number, ZIP, made, f"{number}.zip", data)
