"""Which films a training sees and which it never does."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.modelspec import FilmClass, ModelSpec
from training.data import (
    CLASSES,
    Film,
    class_indices,
    group_films,
    list_films,
    load_pixels,
    near_duplicates,
    split_by_group,
)
from training.recipe import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """The films of one side of a split."""

    films: list[Film]
    pixels: np.ndarray
    """uint8 (films, size, size, 1)."""
    groups: list[str]

    @property
    def classes(self) -> np.ndarray:
        """Return each film's place in CLASSES, int64 (films,)."""
        return class_indices(self.films)

    @property
    def truth(self) -> np.ndarray:
        """Return bool (films,), True for pneumonia."""
        return self.classes != CLASSES.index(FilmClass.NORMAL)

    @property
    def targets(self) -> np.ndarray:
        """Return one-hot classes, float32 (films, classes)."""
        return np.eye(len(CLASSES), dtype=np.float32)[self.classes]


@dataclass(frozen=True)
class Split:
    """All films of a training, by side."""

    seen: Side
    held_out: Side


def split_films(data: Path, recipe: Recipe, spec: ModelSpec, cache: Path) -> Split:
    """Read the films of a folder and hold out whole patients; films stored twice count as one patient's.

    Raises DataUnusable where the folder holds no such films.
    """
    films = list_films(data)
    pixels, digests = load_pixels(films, spec, cache)
    groups = group_films(films, digests, near_duplicates(pixels))
    held_out = split_by_group([film.film_class for film in films], groups, recipe.held_out, recipe.seed)
    logger.info("%d films in %d groups, %d held out", len(films), len(set(groups)), held_out.sum())

    def side(rows: np.ndarray) -> Side:
        return Side([films[i] for i in rows], pixels[rows], [groups[i] for i in rows])

    return Split(seen=side(np.flatnonzero(~held_out)), held_out=side(np.flatnonzero(held_out)))
