"""How well a model folder does on a folder of films with known labels."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from shared.errors import FilmRejected
from shared.modelspec import Label, ModelSpec, read_spec, verify_weights
from shared.preprocess import prepare
from training.data import SUFFIXES
from training.errors import DataUnusable
from training.metrics import report

logger = logging.getLogger(__name__)

BATCH = 32


@dataclass(frozen=True)
class LabelledFilms:
    """The readable films of an evaluation folder."""

    pixels: np.ndarray
    """uint8 (films, size, size, 1)."""
    truth: np.ndarray
    """bool (films,), True for PNEUMONIA."""
    names: tuple[str, ...]
    unreadable: dict[str, str]
    """Why each file that was left out could not be read, by its name."""


def load_network(folder: Path, spec: ModelSpec) -> keras.Model:
    """Load a model folder's network after comparing its sha256.

    Raises ModelUnavailable where the file is missing or is not the one that the spec names.
    """
    return keras.saving.load_model(verify_weights(folder, spec), compile=False, safe_mode=True)


def predict_logits(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Return the raw logits, float32 (films, classes), of uint8 films (films, size, size, 1)."""
    return np.asarray(network.predict(pixels, batch_size=BATCH, verbose=0), dtype=np.float32)


def class_folders(folder: Path) -> dict[Label, Path]:
    """Find the NORMAL and PNEUMONIA folders in `folder`, in whatever case they are written.

    Raises DataUnusable where the folder or one of the two is missing.
    """
    if not folder.is_dir():
        raise DataUnusable(f"There is no folder {folder}. Give a folder with the subfolders NORMAL and PNEUMONIA.")
    found = {
        Label(path.name.upper()): path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name.upper() in Label.__members__
    }
    if missing := [label for label in Label if label not in found]:
        held = ", ".join(found) or "neither"
        raise DataUnusable(
            f"{folder} has no subfolder {' and no '.join(missing)} (found: {held}). "
            "Recall and specificity need films of both classes: put each film in NORMAL or PNEUMONIA."
        )
    return found


def read_films(folder: Path, spec: ModelSpec) -> LabelledFilms:
    """Read every file under the two class folders; files that are no films are named and left out.

    Raises DataUnusable where a class has no readable film.
    """
    pixels: list[np.ndarray] = []
    truth: list[bool] = []
    names: list[str] = []
    unreadable: dict[str, str] = {}
    for label, place in class_folders(folder).items():
        for path in sorted(path for path in place.rglob("*") if path.is_file()):
            name = str(path.relative_to(folder))
            try:
                pixels.append(prepare(path.read_bytes(), spec))
            except (FilmRejected, OSError) as error:
                unreadable[name] = str(error)
                continue
            truth.append(label is Label.PNEUMONIA)
            names.append(name)
        if not any(is_sick == (label is Label.PNEUMONIA) for is_sick in truth):
            raise DataUnusable(
                f"No film in {place} can be read ({len(unreadable)} files were tried). "
                f"Expected one of: {', '.join(sorted(SUFFIXES))}."
            )
    return LabelledFilms(np.stack(pixels), np.array(truth), tuple(names), unreadable)


def p_pneumonia(network: keras.Model, spec: ModelSpec, pixels: np.ndarray) -> np.ndarray:
    """Return the calibrated probability of pneumonia, float64 (films,), of uint8 (films, size, size, 1)."""
    return spec.p_pneumonia(spec.calibrate(predict_logits(network, pixels)))


def evaluate_folder(folder: Path, model: Path, groups: Sequence[str] | None = None) -> dict[str, Any]:
    """Evaluate a model folder on a folder of films; return the report of `training.metrics` with model and misreads.

    Raises DataUnusable or ModelUnavailable, each saying what to do.
    """
    spec = read_spec(model)
    films = read_films(folder, spec)
    probabilities = p_pneumonia(load_network(model, spec), spec, films.pixels)
    return {
        "model": spec.version,
        "backend": keras.backend.backend(),
        "folder": str(folder),
        **report(films.truth, probabilities, spec.threshold, groups),
        "unreadable": films.unreadable,
    }
