"""Which films a training sees and which it never does."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evaluation.dataset import Film, group_films
from evaluation.errors import DataUnusable
from shared.models.spec import FilmClass, ModelSpec
from training.data import (
    class_indices,
    find_lungs,
    list_films,
    load_pixels,
    near_duplicates,
    split_by_group,
)
from training.elsewhere import draws, read_index
from training.layout import SIDE, hardest_normals, layout_scores
from training.recipe import Recipe
from training.style import across_groups, describe_making, learn_making

logger = logging.getLogger(__name__)

WHOLE: Final = 224
"""Pixels of the training set's files."""


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
    repeats: tuple[int, ...]
    """How often an epoch draws each film."""

    @property
    def drawn(self) -> np.ndarray:
        """Return the places of the films that an epoch draws, int64 (draws,), in their order."""
        return np.repeat(np.arange(len(self.films)), self.repeats)

    @property
    def truth(self) -> np.ndarray:
        """Return bool (films,), True for pneumonia."""
        return np.array([film.film_class is not FilmClass.NORMAL for film in self.films])

    def classes(self, names: Sequence[FilmClass]) -> np.ndarray:
        """Return each film's place in `names`, int64 (films,)."""
        return class_indices(self.films, names)

    def targets(self, names: Sequence[FilmClass]) -> np.ndarray:
        """Return what to learn, float32 (films, classes): the class, or both causes alike where none is known."""
        known = [film.film_class in names or FilmClass.PNEUMONIA in names for film in self.films]
        causes = np.array([name is not FilmClass.NORMAL for name in names], np.float32)
        hot = np.tile(causes / causes.sum(), (len(self.films), 1))
        rows = np.flatnonzero(known)
        hot[rows] = np.eye(len(names), dtype=np.float32)[class_indices([self.films[i] for i in rows], names)]
        return hot

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


def split_films(data: Path, recipe: Recipe, spec: ModelSpec, cache: Path, elsewhere: Path | None = None) -> Split:
    """Read the films of a folder and hold out whole patients; films stored twice count as one patient's.

    Films of the other sources that the recipe names, in `elsewhere`, are trained on and never held out.
    Raises DataUnusable where a folder holds no such films.
    """
    listed = list_films(data)
    groups, by_patient = hold_out(listed, *load_pixels(listed, whole_films(spec, recipe), cache), recipe)
    shown = _shown(listed, spec, cache)
    films = [listed[i] for i in shown]
    groups, by_patient = [groups[i] for i in shown], by_patient[shown]
    source, _ = load_pixels(films, source_of(spec, recipe), cache)
    left_out, held_out = np.zeros_like(by_patient), by_patient
    if recipe.hold_out == "layout":
        whole = spec.model_copy(update={"framing": None, "input_size": SIDE})
        left_out, held_out = _by_layout(films, load_pixels(films, whole, cache)[0], groups, by_patient)
    seen_rows, held_rows = np.flatnonzero(~left_out & ~held_out), np.flatnonzero(held_out)
    others, other_pixels, other_repeats = _read_elsewhere(elsewhere, recipe, spec, cache)
    seen, held = [films[i] for i in seen_rows] + others, [films[i] for i in held_rows]
    pixels = np.concatenate([source[seen_rows], other_pixels]) if others else source[seen_rows]
    seen_groups = [groups[i] for i in seen_rows] + [film.patient for film in others]
    repeats = [recipe.normal_draws if films[i].film_class is FilmClass.NORMAL else 1 for i in seen_rows] + other_repeats
    making, truth = _describe(pixels, cache), _is_sick(seen)
    across = across_groups(making, truth, seen_groups)
    beside = learn_making(making, truth, _describe(source[held_rows], cache))
    inputs, _ = load_pixels(held, spec, cache)
    return Split(
        seen=Side(seen, pixels, seen_groups, across, tuple(repeats)),
        held_out=Side(held, inputs, [groups[i] for i in held_rows], beside, (1,) * len(held)),
    )


def _describe(pixels: np.ndarray, cache: Path) -> np.ndarray:
    """Describe how films were made, once: it takes as long as decoding them."""
    stored = cache / f"making-{hashlib.sha256(pixels.data).hexdigest()[:16]}.npy"
    if not stored.is_file():
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.save(stored, describe_making(pixels))
    return np.asarray(np.load(stored))


def _is_sick(films: Sequence[Film]) -> np.ndarray:
    return np.array([film.film_class is not FilmClass.NORMAL for film in films])


def _read_elsewhere(
    folder: Path | None, recipe: Recipe, spec: ModelSpec, cache: Path
) -> tuple[list[Film], np.ndarray, list[int]]:
    """Return the films of the other sources that the recipe names, their pixels and how often an epoch draws each."""
    if not recipe.elsewhere:
        return [], np.empty(0, np.uint8), []
    if folder is None or not folder.is_dir():
        raise DataUnusable(
            f"{recipe.name} also trains on {', '.join(recipe.elsewhere)}; there is no folder {folder}. "
            "Give it with --elsewhere."
        )
    listed = [film for name in recipe.elsewhere for film in read_index(folder / name)]
    listed = [listed[i] for i in _shown([film.film for film in listed], spec, cache)]
    films = [film.film for film in listed]
    return films, load_pixels(films, source_of(spec, recipe), cache)[0], draws(listed)


def source_of(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """Return what films are prepared by before crops are taken from them."""
    framing = spec.framing and spec.framing.model_copy(update={"margin": recipe.source_margin})
    return spec.model_copy(update={"input_size": recipe.source_size, "framing": framing})


def whole_films(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """Return what films are prepared by to find those stored twice, framed or not: sides depend on nothing else."""
    return spec.model_copy(
        update={"input_size": recipe.source_size if recipe.framing is None else WHOLE, "framing": None}
    )


def _shown(films: Sequence[Film], spec: ModelSpec, cache: Path) -> np.ndarray:
    found = find_lungs(films, spec, cache)
    if len(found) < len(films):
        logger.info("%d of %d films show no lungs and are left out", len(films) - len(found), len(films))
    return found


def _by_layout(
    films: Sequence[Film], thumbnails: np.ndarray, groups: Sequence[str], by_patient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which films are left out altogether and which are held out to measure the framing gap, bool (films,)."""
    truth = _is_sick(films)
    hard, measured = hardest_normals(layout_scores(thumbnails, truth, groups), truth)
    held_out = measured | (by_patient & truth)
    of_held = {group for group, is_held in zip(groups, held_out, strict=True) if is_held}
    beside = np.array([group in of_held for group in groups])
    return (hard | beside) & ~held_out, held_out


def hold_out(
    films: Sequence[Film], pixels: np.ndarray, digests: Sequence[str], recipe: Recipe
) -> tuple[list[str], np.ndarray]:
    """Return each film's group and which films are held out, bool (films,); `pixels` and `digests` find duplicates."""
    groups = group_films(films, digests, near_duplicates(pixels))
    held_out = split_by_group([film.film_class for film in films], groups, recipe.held_out, recipe.seed)
    logger.info("%d films in %d groups, %d held out", len(films), len(set(groups)), held_out.sum())
    return groups, held_out
