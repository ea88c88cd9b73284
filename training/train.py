"""Train a model, from images to model folder.

    pneumoscreen train whole-mobilenet --data ../shared/data/chest_xray/train

Read this file from top to bottom; every number is in the recipe (`training/recipes/`). How long a recipe took and its
results are on its model's card. `--resume` continues a stopped run from its last complete epoch. The journal of every
epoch is in `runs/<name>/journal.csv`.
"""

import logging
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras

from training.batches import Teacher, training_batches
from training.errors import RunMismatch, WeightsUnusable
from training.export import draft_spec, write_model
from training.features import KeptFeatures
from training.fixed_layers import FixedLayers, Lower, upper
from training.journal import (
    JOURNAL,
    Journal,
    Run,
    best_of,
    fix_draws,
    is_over,
    last_of,
    of_phase,
    read_journal,
    read_state,
)
from training.recipe import Phase, Recipe
from training.recipes import module_of
from training.registry import NETWORKS, RANDOM, with_places
from training.split import Split, split_images

logger = logging.getLogger(__name__)

GUIDE: Final = "val"
"""The official validation folder beside the train split: 16 images used while choosing the augmentation."""
UNDECAYED: Final = ("beta", "gamma", "bias")
"""Weights excluded from weight decay."""

RENEWAL: Final = 0.95
"""Momentum with which an epoch's batches replace all normalisation statistics; 0.999, as in some published networks,
would keep nine tenths of those of the raw weights."""


def train(
    recipe: Recipe,
    data: Path,
    models: Path,
    runs: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
    elsewhere: Path | None = None,
) -> Path:
    """Train by `recipe` on the images in `data` and write `models/<name>`; return that folder.

    `runs` holds temporary files: pixels, checkpoints and the journal. `weights` is a file to start from, where the
    recipe takes one. `elsewhere` holds the other sources that the recipe names.
    Raises DataUnusable for a folder that holds no such images, RunMismatch where `resume` finds no run of this recipe
    from these weights, WeightsUnusable where the recipe cannot start from `weights`.
    """
    keras.utils.set_random_seed(recipe.seed)
    folder = runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    draft = draft_spec(recipe)
    split = split_images(data, recipe, draft, runs / "cache", elsewhere)
    whole = build(recipe)
    origin = start_again(whole, folder, recipe, weights, split) if resume else start_from(whole, recipe, weights, split)
    if not resume:
        (folder / JOURNAL).unlink(missing_ok=True)
    run = Run(folder, recipe, split, draft, origin)
    teacher = load_teachers(recipe, models)
    for number, phase in enumerate(recipe.phases, start=1):
        run = replace(run, lower=fixed_layers(whole, run, phase, runs / "cache"))
        train_phase(whole, run, number, teacher)
    network = finish(whole, run)
    return write_model(network, run, models / recipe.name, guide=data.parent / GUIDE)


def build(recipe: Recipe) -> keras.Model:
    """Return the network as the recipe trains it, with random weights."""
    network = NETWORKS[recipe.network](recipe.input_size, len(recipe.classes))
    return with_places(network) if recipe.place_weight else network


def start_from(network: keras.Model, recipe: Recipe, weights: Path | None, split: Split) -> str:
    """Load initial weights where the recipe knows how to; return where they came from, for the card.

    Raises WeightsUnusable where the recipe cannot start from the given file.
    """
    if recipe.pretrained:
        return str(module_of(recipe.network).start(network, weights, split.held_out.pixels))
    if weights is not None:
        raise WeightsUnusable(f"{recipe.name} starts from random weights. Leave out --weights. Received {weights}.")
    return RANDOM


def start_again(network: keras.Model, folder: Path, recipe: Recipe, weights: Path | None, split: Split) -> str:
    """Load a stopped run's initial weights into its frozen layers; return where they came from.

    Raises RunMismatch where there is no such run, or it started from other weights.
    """
    origin = str(read_state(folder, recipe)["origin"])
    if recipe.holds_fixed and origin != RANDOM:
        found = start_from(network, recipe, weights, split)
        if found != origin:
            raise RunMismatch(f"{folder} was started from {origin}. Give these with --weights. Received {found}.")
    return origin


def fixed_layers(whole: keras.Model, run: Run, phase: Phase, cache: Path) -> FixedLayers | None:
    """Return a phase's frozen layers, on OpenVINO; None where all layers learn, as they do from random weights."""
    if not phase.fixed_to or run.origin == RANDOM:
        return None
    lower = Lower(whole, phase.fixed_to, run.recipe.batch)
    return KeptFeatures(lower, cache) if run.recipe.augmentation.leaves_alone else lower


def learning_part(whole: keras.Model, run: Run, phase: Phase) -> keras.Model:
    """Return the layers that learn in a phase; they are shared with the whole network."""
    return whole if run.lower is None else upper(whole, phase.fixed_to)


def in_policy(whole: keras.Model, run: Run, phase: Phase) -> keras.Model:
    """Return the layers that learn in a phase as they compute by the recipe's policy.

    In float32 they are shared with the whole network, otherwise they are copies with the same weights.
    """
    recipe = run.recipe
    if recipe.dtype_policy == "float32":
        return learning_part(whole, run, phase)
    keras.config.set_dtype_policy(recipe.dtype_policy)
    try:
        twin = build(recipe)
    finally:
        keras.config.set_dtype_policy("float32")
    twin.set_weights(whole.get_weights())
    return learning_part(twin, run, phase)


def load_teachers(recipe: Recipe, models: Path) -> Teacher | None:
    """Load the models that the recipe learns from; None where it learns from labels alone."""
    if not recipe.teachers:
        return None
    from training.teacher import Teachers  # noqa: PLC0415  # OpenVINO is needed for distillation only

    return Teachers([models / name for name in recipe.teachers], recipe)


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """Return how many complete batches an epoch has."""
    return max(1, len(split.seen.drawn) // recipe.batch)


def train_phase(whole: keras.Model, run: Run, number: int, teacher: Teacher | None) -> None:
    """Train one phase, or the rest of it, to its end; leave the phase's final weights in the whole network."""
    recipe, phase = run.recipe, run.recipe.phases[number - 1]
    done = read_journal(run.folder)
    if of_phase(done, number + 1):
        # Resumed in a later phase: its checkpoint includes all that this one trained.
        return
    lines, part = of_phase(done, number), learning_part(whole, run, phase)
    network = keras.saving.load_model(run.folder / last_of(number)) if lines else in_policy(whole, run, phase)
    if not is_over(lines, phase, recipe.patience):
        fit_phase(network, run, number, teacher)
    elif network.optimizer is not None:
        # `fit` swaps in the averaged weights at its end; a run stopped after its last epoch has the raw ones.
        network.optimizer.finalize_variable_values(network.trainable_variables)
    if recipe.patience is not None:
        network = keras.saving.load_model(run.folder / best_of(number))
    part.set_weights(network.get_weights())


def fit_phase(network: keras.Model, run: Run, number: int, teacher: Teacher | None) -> None:
    """Train the network for the remaining epochs of a phase."""
    recipe, phase, done = run.recipe, run.recipe.phases[number - 1], read_journal(run.folder)
    steps, lines = steps_per_epoch(run.split, recipe), of_phase(done, number)
    if not lines:
        compile_network(network, recipe, phase, steps)
    # Keras does not save which weights are excluded from weight decay.
    exclude_from_decay(network.optimizer)
    last = len(done) + phase.epochs - len(lines)
    network.fit(
        training_batches(run.split.seen, recipe, len(done) * steps, last * steps, teacher=teacher, lower=run.lower),
        initial_epoch=len(done),
        epochs=last,
        steps_per_epoch=steps,
        shuffle=False,
        callbacks=[Journal(run, number)],
        verbose="auto" if sys.stdout.isatty() else 0,
    )


def compile_network(network: keras.Model, recipe: Recipe, phase: Phase, steps: int) -> None:
    """Set the loss and the optimizer of a phase with `steps` steps an epoch."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    if not recipe.place_weight:
        network.compile(_optimizer(recipe, phase, steps), loss, metrics=["accuracy"])
        return
    network.compile(
        _optimizer(recipe, phase, steps),
        loss=[loss, PlaceLoss(recipe.place_temperature)],
        loss_weights=[1.0, recipe.place_weight],
        metrics=[["accuracy"], []],
    )


@keras.saving.register_keras_serializable("pneumoscreen")
class PlaceLoss(keras.losses.Loss):
    """Cross-entropy at each place between a teacher's softened probabilities and the network's softened logits.

    Both (batch, h, w, classes). Softening and its square as factor: Hinton et al. 2015 (arXiv:1503.02531).
    """

    def __init__(self, temperature: float, **options: Any) -> None:
        super().__init__(**options)
        self.temperature = temperature

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the mean over the places, (batch,)."""
        apart = keras.ops.categorical_crossentropy(y_true, y_pred / self.temperature, from_logits=True)
        return self.temperature**2 * keras.ops.mean(apart, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make the same loss."""
        return {**super().get_config(), "temperature": self.temperature}


def _optimizer(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    rate = _cosine(recipe, phase, steps) if recipe.schedule == "cosine" else phase.peak_rate
    averaged = {"use_ema": True, "ema_momentum": recipe.average} if recipe.average is not None else {}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=recipe.momentum, **averaged)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaged)
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, global_clipnorm=5.0, **averaged)


def _cosine(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Warm up for a short while, then decay along a cosine to the final rate."""
    total = phase.epochs * steps
    climb = max(1, math.ceil(total * recipe.warmup))
    return keras.optimizers.schedules.CosineDecay(
        phase.peak_rate / 20,
        max(1, total - climb),
        alpha=recipe.final_rate / phase.peak_rate,
        warmup_target=phase.peak_rate,
        warmup_steps=climb,
    )


def exclude_from_decay(optimizer: keras.optimizers.Optimizer) -> None:
    """Exclude biases and the shifts and scales of normalisations from weight decay."""
    if isinstance(optimizer, keras.optimizers.AdamW):
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))


def finish(whole: keras.Model, run: Run) -> keras.Model:
    """Return the network without its optimizer, with fresh normalisation statistics for averaged weights.

    The running means and variances belong to the raw weights; one epoch of batches through the averaged ones
    re-estimates them (as in stochastic weight averaging, Izmailov et al. 2018, arXiv:1803.05407).
    """
    recipe = run.recipe
    if recipe.average is not None:
        renew_normalisation(learning_part(whole, run, recipe.phases[-1]), run)
    plain = NETWORKS[recipe.network](recipe.input_size, len(recipe.classes))
    plain.set_weights(whole.get_weights())
    return plain


def renew_normalisation(network: keras.Model, run: Run) -> None:
    """Re-estimate normalisation statistics on the epoch of batches after the last."""
    recipe = run.recipe
    steps = steps_per_epoch(run.split, recipe)
    last = recipe.epochs * steps
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = RENEWAL
    fix_draws(network, recipe.seed, recipe.epochs)
    for images, _, _ in training_batches(run.split.seen, recipe, last, last + steps, lower=run.lower):
        network(images.numpy(), training=True)
