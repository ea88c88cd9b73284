"""Train a model, from films to model folder.

    pneumoscreen train --data ../shared/data/chest_xray/train

On two CPU cores the default recipe takes 20 to 30 minutes and 2 GB of memory. One run, seed 20, reached a validation
AUC of 0.9964 (95 % interval 0.9931 to 0.9989; pneumonia against normal, whole patients held out); another draw of
patients can move that by several thousandths. A run that was stopped goes on with `--resume` from the last whole epoch.
The journal of every epoch is in `runs/<name>/journal.csv`.
"""

import csv
import json
import logging
import math
import time
from pathlib import Path
from typing import Any, Final

import keras

from training.data import CLASSES
from training.errors import RunMismatch
from training.evaluate import p_pneumonia
from training.export import draft_spec, write_model
from training.metrics import measure
from training.networks import NETWORKS
from training.recipe import Recipe, training_batches
from training.split import Side, Split, split_films

logger = logging.getLogger(__name__)

CHECKPOINT: Final = "last.keras"
STATE: Final = "state.json"
JOURNAL: Final = "journal.csv"
GUIDE: Final = "val"
"""The official validation folder beside the train split: 16 films that were looked at while augmentation was chosen."""
DRAWS: Final = 100_000
"""More than the draws of any epoch."""
UNDECAYED: Final = ("beta", "gamma", "bias")
"""Weights that are not drawn towards zero."""


def train(recipe: Recipe, data: Path, models: Path, runs: Path, resume: bool = False) -> Path:
    """Train by `recipe` on the films in `data` and write `models/<name>`; return that folder.

    `runs` holds what is not kept: pixels, checkpoints and the journal.
    Raises DataUnusable for a folder that holds no such films, RunMismatch where `resume` finds no run of this recipe.
    """
    keras.utils.set_random_seed(recipe.seed)
    run = runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    split = split_films(data, recipe, draft_spec(recipe), runs / "cache")
    steps = steps_per_epoch(split, recipe)
    if resume:
        network, done = _resume(run, recipe)
    else:
        network, done = compile_network(recipe, steps), 0
        (run / JOURNAL).unlink(missing_ok=True)
    if done < recipe.epochs:
        network.fit(
            training_batches(split.seen.pixels, split.seen.targets, recipe, done * steps, recipe.epochs * steps),
            initial_epoch=done,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            shuffle=False,
            callbacks=[Journal(run, recipe, split.held_out)],
            verbose=0,
        )
    else:
        # `fit` puts the averaged weights in place as it ends; a run stopped after its last epoch has the raw ones.
        network.optimizer.finalize_variable_values(network.trainable_variables)
    return write_model(
        finish(network, recipe, split),
        recipe,
        split,
        run=run,
        folder=models / recipe.name,
        journal=read_journal(run),
        guide=data.parent / GUIDE,
    )


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """Return how many whole batches the films give."""
    return max(1, len(split.seen.films) // recipe.batch)


def compile_network(recipe: Recipe, steps: int) -> keras.Model:
    """Build the recipe's network with its loss and optimizer: a short climb, then a cosine down to the final rate."""
    total = recipe.epochs * steps
    climb = max(1, math.ceil(total * recipe.warmup))
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.peak_rate / 20,
        max(1, total - climb),
        alpha=recipe.final_rate / recipe.peak_rate,
        warmup_target=recipe.peak_rate,
        warmup_steps=climb,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.weight_decay, global_clipnorm=5.0, use_ema=True, ema_momentum=recipe.average
    )
    optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    network = NETWORKS[recipe.network](recipe.input_size, len(CLASSES))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    network.compile(optimizer, loss)
    return network


class Journal(keras.callbacks.Callback):
    """Write a line and a checkpoint after each epoch."""

    def __init__(self, run: Path, recipe: Recipe, held_out: Side) -> None:
        super().__init__()
        self.run, self.recipe, self.held_out = run, recipe, held_out
        self.started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras's own
        """Note when the epoch began and let its dropout follow from its number.

        A loaded network counts its random draws from the start again, so a resumed run would drop other units.
        """
        self.started = time.monotonic()
        for state in self.model.non_trainable_variables:
            if "seed_generator" in state.path:
                state.assign([self.recipe.seed, epoch * DRAWS])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measure the raw weights on the held-out films, then write journal and checkpoint."""
        seconds = time.monotonic() - self.started
        spec = draft_spec(self.recipe)
        figures = measure(self.held_out.truth, p_pneumonia(self.model, spec, self.held_out.pixels), spec.threshold)
        line = {"epoch": epoch + 1, "seconds": round(seconds, 1), "loss": round((logs or {})["loss"], 5)}
        line |= {name: round(value, 5) for name, value in figures.items()}
        logger.info(" ".join(f"{name} {value}" for name, value in line.items()))
        self._write(line)

    def _write(self, line: dict[str, float]) -> None:
        fresh = self.run / f"next-{CHECKPOINT}"
        self.model.save(fresh)
        fresh.replace(self.run / CHECKPOINT)
        state = {"epochs_done": line["epoch"], "recipe": self.recipe.numbers()}
        (self.run / STATE).write_text(json.dumps(state, indent=2))
        exists = (self.run / JOURNAL).exists()
        with (self.run / JOURNAL).open("a", newline="") as file:
            writer = csv.DictWriter(file, line.keys())
            if not exists:
                writer.writeheader()
            writer.writerow(line)


def read_journal(run: Path) -> list[dict[str, float]]:
    """Read the journal of a run, one row per epoch."""
    with (run / JOURNAL).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _resume(run: Path, recipe: Recipe) -> tuple[keras.Model, int]:
    if not (run / STATE).is_file() or not (run / CHECKPOINT).is_file():
        raise RunMismatch(f"There is no interrupted training in {run}. Start without --resume.")
    state: dict[str, Any] = json.loads((run / STATE).read_text())
    if state["recipe"] != recipe.numbers():
        changed = [key for key, value in recipe.numbers().items() if state["recipe"].get(key) != value]
        raise RunMismatch(
            f"{run} was started with other numbers (differing: {', '.join(changed)}). Give the same ones to resume."
        )
    logger.info("resuming after epoch %d", state["epochs_done"])
    network = keras.saving.load_model(run / CHECKPOINT)
    # Keras does not save which weights are excluded from the decay.
    network.optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    return network, int(state["epochs_done"])


def finish(network: keras.Model, recipe: Recipe, split: Split) -> keras.Model:
    """Return the network without its optimizer, its averaged weights given fresh normalisation statistics.

    The running means and variances belong to the raw weights; one epoch of batches through the averaged ones renews
    them (as in stochastic weight averaging, Izmailov et al. 2018, arXiv:1803.05407).
    """
    steps = steps_per_epoch(split, recipe)
    last = recipe.epochs * steps
    for films, _ in training_batches(split.seen.pixels, split.seen.targets, recipe, last, last + steps):
        network(films, training=True)
    plain = NETWORKS[recipe.network](recipe.input_size, len(CLASSES))
    plain.set_weights(network.get_weights())
    return plain
