"""A pupil and its teacher, run in a process of their own, see probe.py."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.model.run_probe import small_data_set


def losses_and_distances(folder: str, *images: str) -> dict[str, Any]:
    """Return what the functions below find, from one process."""
    return {
        "losses": [place_losses(temperature) for temperature in (1.0, 4.0)],
        "distances": distances(folder, *images),
    }


def place_losses(temperature: float) -> dict[str, Any]:
    """Return the loss over places of some logits, and the smallest that logits around the teacher's own give."""
    from training.train import PlaceLoss

    draws = np.random.default_rng(3)
    teacher, pupil = draws.normal(0, 3, (2, 4, 5, 6, 3)).astype(np.float32)
    softened = _softmax(teacher / temperature)
    loss = PlaceLoss(temperature, reduction=None)
    around = [teacher + draws.normal(0, 0.5, teacher.shape).astype(np.float32) for _ in range(5)]
    return {
        "said": np.array(loss(softened, pupil)).tolist(),
        "by_hand": (
            temperature**2 * -(softened * np.log(_softmax(pupil / temperature))).sum(axis=-1).mean(axis=(1, 2))
        ).tolist(),
        "own": float(np.mean(loss(softened, teacher))),
        "around": [float(np.mean(loss(softened, logits))) for logits in around],
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def distances(folder: str, *images: str) -> dict[str, float]:
    """Train a teacher, then a pupil with and one without its places; return how far each is from its places."""
    from evaluation import metrics
    from training.recipe import Phase
    from training.recipes import RECIPES
    from training.train import train

    metrics.RESAMPLES = 20  # the intervals are tested elsewhere
    place = Path(folder)
    data = small_data_set(place / "data", images)
    alone = {"teachers": (), "teacher_share": 0.0, "place_weight": 0.0}
    pupil = replace(
        RECIPES["compact-cnn"], name="taught", input_size=32, batch=8, held_out=0.3, phases=(Phase(3, 3e-3),),
        average=None, precision="f32", teachers=("teacher",), place_weight=2.0,
    )  # fmt: skip
    train(replace(pupil, name="teacher", seed=5, **alone), data, place / "models", place / "runs")
    for recipe in (pupil, replace(pupil, name="untaught", **alone)):
        train(recipe, data, place / "models", place / "runs")
    return {name: _distance(place / "models", name, images) for name in ("taught", "untaught")}


def _distance(models: Path, name: str, images: tuple[str, ...]) -> float:
    """Return the mean difference between the probabilities at each place of the teacher and of another model."""
    from shared.images.preprocess import prepare
    from shared.models.folder import read_spec
    from training.evaluate import load_network
    from training.registry import with_places

    said = []
    for model in ("teacher", name):
        spec = read_spec(models / model)
        pixels = np.stack([prepare(Path(image).read_bytes(), spec) for image in images])
        said.append(_softmax(np.array(with_places(load_network(models / model, spec))(pixels)[1])))
    return float(np.abs(said[0] - said[1]).mean())
