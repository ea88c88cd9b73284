"""The journal of a training, written after each epoch, and the decisions based on it.

Early stopping and lowering the learning rate depend on the journal alone, so that a resumed training decides as the
killed one would have; Keras's callbacks do not keep their state.
"""

import csv
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from evaluation.metrics import measure
from shared.models.spec import ModelSpec
from training.errors import RunMismatch
from training.evaluate import predict_logits
from training.fixed_layers import FixedLayers
from training.recipe import Phase, Recipe
from training.split import Split

logger = logging.getLogger(__name__)

STATE: Final = "state.json"
JOURNAL: Final = "journal.csv"
DRAWS: Final = 100_000
"""More than the random draws of any epoch."""

Line = dict[str, float]


def last_of(phase: int) -> str:
    """Return the file name of the checkpoint after the last epoch of a phase; phases count from 1."""
    return f"last-{phase}.keras"


def best_of(phase: int) -> str:
    """Return the file name of the checkpoint of the epoch of a phase with the lowest loss on the held-out images."""
    return f"best-{phase}.keras"


def read_journal(run: Path) -> list[Line]:
    """Read the journal of a run, one line per epoch; empty before the first."""
    if not (run / JOURNAL).is_file():
        return []
    with (run / JOURNAL).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def of_phase(lines: Sequence[Line], number: int) -> list[Line]:
    """Return the lines of one phase; phases count from 1."""
    return [line for line in lines if line["phase"] == number]


def is_over(lines: Sequence[Line], phase: Phase, patience: int | None) -> bool:
    """Say whether a phase with these lines has ended, by its epochs or by its patience."""
    if len(lines) >= phase.epochs:
        return True
    return patience is not None and _epochs_since_best(lines) >= patience


def _epochs_since_best(lines: Sequence[Line]) -> int:
    if not lines:
        return 0
    return len(lines) - 1 - int(np.argmin([line["val_loss"] for line in lines]))


def plateau_rate(lines: Sequence[Line], phase: Phase, recipe: Recipe) -> float:
    """Return the learning rate for the next epoch of a phase: divided each time the loss stalled for some epochs."""
    rate, best, waited = phase.peak_rate, float("inf"), 0
    for line in lines:
        waited = 0 if line["val_loss"] < best else waited + 1
        best = min(best, line["val_loss"])
        if waited >= recipe.plateau_patience:
            rate, waited = rate * recipe.plateau_factor, 0
    return rate


def read_state(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Read the saved state of a stopped run.

    Raises RunMismatch where there is none or where it was started with other numbers.
    """
    if not (run / STATE).is_file() or not (run / JOURNAL).is_file():
        raise RunMismatch(f"There is no interrupted training in {run}. Start without --resume.")
    state: dict[str, Any] = json.loads((run / STATE).read_text())
    if state["recipe"] != recipe.numbers():
        changed = [key for key, value in recipe.numbers().items() if state["recipe"].get(key) != value]
        raise RunMismatch(
            f"{run} was started with other numbers (differing: {', '.join(changed)}). Give the same ones to resume."
        )
    logger.info("resuming after epoch %d", state["epochs_done"])
    return state


@dataclass(frozen=True)
class Run:
    """The state of a training that stays the same from its first epoch to its last."""

    folder: Path
    """For checkpoints and the journal."""
    recipe: Recipe
    split: Split
    draft: ModelSpec
    """The spec before temperature and threshold are fitted."""
    origin: str
    """Where the initial weights came from."""
    lower: FixedLayers | None = None
    """The frozen layers of the present phase, where they run outside the network that learns."""

    @cached_property
    def held_out_inputs(self) -> np.ndarray:
        """Return the held-out images as inputs of the layers that learn."""
        pixels = self.split.held_out.pixels
        return pixels if self.lower is None else self.lower.answer(pixels)


def fix_draws(network: keras.Model, seed: int, epoch: int) -> None:
    """Seed a network's dropout by the seed and the epoch's number alone."""
    for state in network.non_trainable_variables:
        if "seed_generator" in state.path:
            state.assign([seed, epoch * DRAWS])


class Journal(keras.callbacks.Callback):
    """Measure after each epoch, write a line and a checkpoint, and end the phase when it is due."""

    def __init__(self, run: Run, phase: int) -> None:
        super().__init__()
        self.run, self.recipe, self.phase = run, run.recipe, phase
        self.started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras's own
        """Record the epoch's start, set its learning rate, and seed its dropout by its number.

        A loaded network restarts its random number sequence, so a resumed run would drop other units.
        """
        self.started = time.monotonic()
        if self.recipe.schedule == "plateau":
            lines = of_phase(read_journal(self.run.folder), self.phase)
            self.model.optimizer.learning_rate = plateau_rate(lines, self.recipe.phases[self.phase - 1], self.recipe)
        fix_draws(self.model, self.recipe.seed, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measure the raw weights on the held-out images, then write journal and checkpoint."""
        seconds = time.monotonic() - self.started
        seen = {name.removeprefix("logits_"): float(value) for name, value in (logs or {}).items()}
        learned = {name: round(seen[name], 5) for name in ("loss", "accuracy")}
        line = {"epoch": epoch + 1, "phase": self.phase, "seconds": round(seconds, 1), "rate": self._rate()}
        line |= learned | self._measure()
        logger.info(" ".join(f"{name} {value}" for name, value in line.items()))
        lines = [*of_phase(read_journal(self.run.folder), self.phase), line]
        if min(lines, key=lambda one: one["val_loss"])["epoch"] == line["epoch"]:
            # Before the line is written: a run killed in between repeats this epoch with the same result.
            self.model.save(self.run.folder / best_of(self.phase))
        self._write(line)
        self.model.stop_training = is_over(lines, self.recipe.phases[self.phase - 1], self.recipe.patience)

    def _rate(self) -> float:
        return float(f"{float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)):.3g}")

    def _measure(self) -> Line:
        held_out, draft = self.run.split.held_out, self.run.draft
        classes = held_out.classes(self.recipe.classes)
        logits = predict_logits(self.model, self.run.held_out_inputs)
        probabilities = draft.calibrate(logits)
        own = probabilities[np.arange(len(classes)), classes]
        figures = measure(held_out.truth, draft.p_pneumonia(probabilities), draft.threshold)
        found = {
            "val_loss": float(-np.log(np.maximum(own, 1e-7)).mean()),
            "val_accuracy": float((logits.argmax(axis=1) == classes).mean()),
            **{f"val_{name}": figures[name] for name in ("auc", "recall", "specificity", "ece")},
        }
        return {name: round(value, 5) for name, value in found.items()}

    def _write(self, line: Line) -> None:
        last = self.run.folder / last_of(self.phase)
        fresh = last.with_name(f"next-{last.name}")
        self.model.save(fresh)
        fresh.replace(last)
        state = {"epochs_done": line["epoch"], "origin": self.run.origin, "recipe": self.recipe.numbers()}
        (self.run.folder / STATE).write_text(json.dumps(state, indent=2))
        exists = (self.run.folder / JOURNAL).exists()
        with (self.run.folder / JOURNAL).open("a", newline="") as file:
            writer = csv.DictWriter(file, line.keys())
            if not exists:
                writer.writeheader()
            writer.writerow(line)
