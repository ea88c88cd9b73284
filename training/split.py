"""Which films a training sees and which it never does."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.modelspec import FilmClass, ModelSpec
from training.data import (
    Film,
    class_indices,
    group_films,
    list_films,
    load_pixels,
    near_duplicates,
    split_by_group,
)
from training.recipe import Recipe
from training.style import across_groups, describe_making, learn_making

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """The films of one side of a split."""

    films: list[Film]
    pixels: np.ndarray
    """uint8 (films, side, side, 1): at the recipe's source size where they are trained on, at its input size where they
    are measured on."""
    groups: list[str]
    by_making: np.ndarray
    """p(pneumonia) by the making of the film alone, float (films,), learned from other films of the seen side."""

    @property
    def truth(self) -> np.ndarray:
        """Return bool (films,), True for pneumonia."""
        return np.array([film.film_class is not FilmClass.NORMAL for film in self.films])

    def classes(self, names: Sequence[FilmClass]) -> np.ndarray:
        """Return each film's place in `names`, int64 (films,)."""
        return class_indices(self.films, names)

    def targets(self, names: Sequence[FilmClass]) -> np.ndarray:
        """Return one-hot classes, float32 (films, classes)."""
        return np.eye(len(names), dtype=np.float32)[self.classes(names)]

    def weights(self, largest: float) -> np.ndarray:
        """Weigh films whose making speaks against their class, float32 (films,), at most `largest` times another.

        One over the probability of a film's class given its making, as inverse propensity weights (Rosenbaum and Rubin
        1983) take a cause out of a comparison; the mean weight of each class is 1, so that its share stays.
        """
        own = np.where(self.truth, self.by_making, 1.0 - self.by_making)
        weights = np.clip(1.0 / np.maximum(own, 1e-3), 1.0, largest)
        for is_sick in (False, True):
            weights[self.truth == is_sick] /= weights[self.truth == is_sick].mean()
        return weights.astype(np.float32)


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
    source, digests = load_pixels(films, spec.model_copy(update={"input_size": recipe.source_size}), cache)
    inputs, _ = load_pixels(films, spec, cache)
    groups, held_out = hold_out(films, source, digests, recipe)
    seen_rows, held_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    truth = np.array([film.film_class is not FilmClass.NORMAL for film in films])
    making = describe_making(source)
    seen_groups = [groups[i] for i in seen_rows]
    across = across_groups(making[seen_rows], truth[seen_rows], seen_groups)
    beside = learn_making(making[seen_rows], truth[seen_rows], making[held_rows])

    def side(rows: np.ndarray, pixels: np.ndarray, by_making: np.ndarray) -> Side:
        return Side([films[i] for i in rows], pixels[rows], [groups[i] for i in rows], by_making)

    return Split(seen=side(seen_rows, source, across), held_out=side(held_rows, inputs, beside))


def hold_out(
    films: Sequence[Film], pixels: np.ndarray, digests: Sequence[str], recipe: Recipe
) -> tuple[list[str], np.ndarray]:
    """Return each film's group and which films are held out, bool (films,); `pixels` and `digests` find duplicates."""
    groups = group_films(films, digests, near_duplicates(pixels))
    held_out = split_by_group([film.film_class for film in films], groups, recipe.held_out, recipe.seed)
    logger.info("%d films in %d groups, %d held out", len(films), len(set(groups)), held_out.sum())
    return groups, held_out
