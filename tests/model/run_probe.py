"""Whole small trainings, run in a process of their own, see probe.py: `python probe.py run_probe.NAME ...`."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.model.probe import drawn_sick


def trainings_and_decisions(folder: str, questions: str, *images: str) -> dict[str, Any]:
    """Return what `whole_trainings` and `decisions` find, from one process."""
    return {"runs": whole_trainings(folder, *images), "decisions": decisions(json.loads(questions))}


def whole_trainings(folder: str, *images: str) -> dict[str, Any]:
    """Train by three recipes, once whole and once stopped and resumed; return what each wrote.

    `averaged` keeps a moving average; `phases` stops early, lowers its rate on a plateau and is stopped in its second
    phase, whose checkpoints stand beside the first one's journal; so is `fixed`, which holds loaded layers fixed, more
    of them in its first phase.
    """
    from evaluation import metrics
    from training.recipe import Phase
    from training.recipes import RECIPES

    metrics.RESAMPLES = 20  # the intervals are tested elsewhere
    data = small_data_set(Path(folder) / "data", images)
    small = {"input_size": 32, "batch": 8, "held_out": 0.3, "teachers": (), "teacher_share": 0.0, "place_weight": 0.0}
    averaged = replace(
        RECIPES["compact-cnn"], name="averaged", network="scratch_cnn", phases=(Phase(2, 2e-3),), average=0.5, **small
    )
    stepped = {"patience": 2, "schedule": "plateau", "plateau_patience": 1}
    phases = (Phase(1, 1e-3), Phase(4, 3e-3))
    held = (Phase(1, 1e-3, fixed_to="block5_pool"), Phase(3, 1e-4, fixed_to="block4_pool"))
    fixed = replace(RECIPES["vgg19-two-phase"], name="fixed", phases=held, **small)
    return {
        "averaged": _stop_and_resume(Path(folder) / "averaged", averaged, data, stop_after=1, after_the_end=True),
        "phases": _stop_and_resume(
            Path(folder) / "phases",
            replace(RECIPES["scratch-cnn"], phases=phases, **stepped, **small),
            data,
            stop_after=3,
        ),
        "fixed": _stop_and_resume(
            Path(folder) / "fixed", fixed, data, stop_after=2, weights=_random_vgg16(Path(folder) / "vgg16.npz")
        ),
    }


def _random_vgg16(file: Path) -> Path:
    """Store a VGG16 of random weights that hand a signal on."""
    import keras

    from training.recipes.published import SPREAD, start_like_he

    keras.utils.set_random_seed(3)
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    start_like_he(network, SPREAD)
    arrays = {f"{layer.name}__{one.name}": np.array(one) for layer in network.layers for one in layer.weights}
    np.savez(file, **arrays)
    return file


def _stop_and_resume(
    folder: Path,
    recipe: Any,
    data: Path,
    stop_after: int,
    *,
    after_the_end: bool = False,
    weights: Path | None = None,
) -> dict[str, Any]:
    from training import train as training
    from training.errors import RunMismatch

    whole = training.train(recipe, data, folder / "models", folder / "whole", weights=weights)
    kept = shutil.copytree(whole, folder / "kept")
    runs = folder / "stopped"
    stopped = _stops_after(stop_after, lambda: training.train(recipe, data, folder / "models", runs, weights=weights))
    refusals = []
    others = [(replace(recipe, batch=9), weights)]
    if weights is not None:
        others.append((recipe, Path(shutil.copy(weights, weights.with_name("other.npz")))))
    for other, file in others:
        try:
            training.train(other, data, folder / "models", runs, resume=True, weights=file)
        except RunMismatch as error:
            refusals.append(str(error))
    untouched = (kept / "spec.json").read_bytes() == (whole / "spec.json").read_bytes()
    resumed = training.train(recipe, data, folder / "models", runs, resume=True, weights=weights)
    again = training.train(recipe, data, folder / "again", runs, resume=True) if after_the_end else None
    return {
        "stopped": stopped,
        "refusals": refusals,
        "untouched_while_stopped": untouched,
        "files": sorted(path.name for path in resumed.iterdir()),
        "figures": [json.loads((place / "metrics.json").read_text()) for place in (kept, resumed)],
        "card": (resumed / "card.md").read_text(),
        "largest_difference": _largest_difference(kept, resumed),
        "moved": [] if weights is None else _moved(resumed, weights),
        "features": {place.name: len(list(place.iterdir())) for place in runs.glob("cache/features-*")},
        "largest_difference_after_the_end": _largest_difference(resumed, again) if again else None,
    }


def _moved(model: Path, weights: Path) -> list[str]:
    """Return the layers of a model that differ from a file that it started from."""
    from shared.models.folder import read_spec
    from training.evaluate import load_network

    network = load_network(model, read_spec(model))
    with np.load(weights) as stored:
        names = {key.removesuffix("__kernel") for key in stored if key.endswith("__kernel")}
        same = [name for name in names if np.array_equal(network.get_layer(name).kernel, stored[f"{name}__kernel"])]
    return sorted(names - set(same))


def _stops_after(epoch: int, train: Callable[[], Path]) -> bool:
    """Train and stop as the journal of `epoch` has been written; return whether training came that far."""
    from training.journal import Journal

    write = Journal._write

    def write_and_stop(self: Any, line: dict[str, float]) -> None:
        write(self, line)
        if line["epoch"] == epoch:
            raise KeyboardInterrupt

    Journal._write = write_and_stop
    try:
        train()
    except KeyboardInterrupt:
        return True
    finally:
        Journal._write = write
    return False


def _largest_difference(one: Path, other: Path) -> float:
    from shared.models.folder import read_spec
    from training.evaluate import load_network

    weights = [load_network(folder, read_spec(folder)).get_weights() for folder in (one, other)]
    return max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))


def small_data_set(folder: Path, images: Sequence[str]) -> Path:
    """Write each image twice, mirrored too, under the names of the real data set."""
    for number, path in enumerate(images):
        sick = drawn_sick(path)
        place = folder / ("PNEUMONIA" if sick else "NORMAL")
        place.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            small = image.resize((96, 96))
        cause = ("bacteria", "virus")[number // 2 % 2]
        series = ("IM", "NORMAL2-IM")[number // 2 % 2]
        stem = f"person{number}_{cause}_" if sick else f"{series}-{number:04d}-"
        small.save(place / f"{stem}0001.jpeg")
        small.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(place / f"{stem}0002.jpeg")
    return folder


def decisions(questions: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Ask the journal, each time by losses, epochs and patience, whether the phase is over and what rate is next."""
    from training.journal import is_over, plateau_rate
    from training.recipe import Phase, Recipe

    answers = {}
    for name, asked in questions.items():
        phase = Phase(asked["epochs"], peak_rate=1.0)
        recipe = Recipe("asked", "none", "For tests", (phase,), plateau_factor=0.5, plateau_patience=2)
        lines = [{"epoch": i, "phase": 1, "val_loss": loss} for i, loss in enumerate(asked["losses"], start=1)]
        answers[name] = [is_over(lines, phase, asked["patience"]), plateau_rate(lines, phase, recipe)]
    return answers
