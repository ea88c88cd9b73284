"""Whole small trainings, run in a process of their own, see probe.py: `python probe.py run_probe.NAME ...`."""

import json
import shutil
from collections.abc import Sequence
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
    """Train by two recipes, once whole and once stopped and resumed; return what each wrote.

    `averaged` keeps a moving average; `phases` stops early, lowers its rate on a plateau and is stopped in its second
    phase, whose checkpoints stand beside the first one's journal.
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
    return {
        "averaged": _stop_and_resume(Path(folder) / "averaged", averaged, data, stop_after=1, after_the_end=True),
        "phases": _stop_and_resume(
            Path(folder) / "phases",
            replace(RECIPES["scratch-cnn"], phases=phases, **stepped, **small),
            data,
            stop_after=3,
        ),
    }


def _stop_and_resume(
    folder: Path, recipe: Any, data: Path, stop_after: int, *, after_the_end: bool = False
) -> dict[str, Any]:
    from training import train as training
    from training.errors import RunMismatch

    whole = training.train(recipe, data, folder / "models", folder / "whole")
    kept = shutil.copytree(whole, folder / "kept")
    runs = folder / "stopped"
    stopped = _stops_after(stop_after, recipe, data, folder / "models", runs)
    try:
        training.train(replace(recipe, batch=9), data, folder / "models", runs, resume=True)
        refusal = ""
    except RunMismatch as error:
        refusal = str(error)
    untouched = (kept / "spec.json").read_bytes() == (whole / "spec.json").read_bytes()
    resumed = training.train(recipe, data, folder / "models", runs, resume=True)
    again = training.train(recipe, data, folder / "again", runs, resume=True) if after_the_end else None
    return {
        "stopped": stopped,
        "refusal": refusal,
        "untouched_while_stopped": untouched,
        "files": sorted(path.name for path in resumed.iterdir()),
        "figures": [json.loads((place / "metrics.json").read_text()) for place in (kept, resumed)],
        "card": (resumed / "card.md").read_text(),
        "largest_difference": _largest_difference(kept, resumed),
        "largest_difference_after_the_end": _largest_difference(resumed, again) if again else None,
    }


def _stops_after(epoch: int, recipe: Any, data: Path, models: Path, runs: Path) -> bool:
    """Train and stop as the journal of `epoch` has been written; return whether training came that far."""
    from training import train as training
    from training.journal import Journal

    write = Journal._write

    def write_and_stop(self: Any, line: dict[str, float]) -> None:
        write(self, line)
        if line["epoch"] == epoch:
            raise KeyboardInterrupt

    Journal._write = write_and_stop
    try:
        training.train(recipe, data, models, runs)
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
