"""What a training is made of: every number of it, and the function that turns step numbers into batches."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from training.augment import Augmentation, augment


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training."""

    name: str = "compact-cnn"
    network: str = "compact_cnn"
    input_size: int = 192
    held_out: float = 0.1
    """Share of the films, by patient, that training never sees."""
    seed: int = 20
    epochs: int = 20
    batch: int = 64
    peak_rate: float = 2e-3
    final_rate: float = 1e-4
    """Above zero, so that the moving average has something to average."""
    warmup: float = 0.06
    """Part of all steps in which the rate climbs to its peak."""
    weight_decay: float = 0.03
    label_smoothing: float = 0.05
    average: float = 0.99
    """Momentum of the moving average of the weights, which is what is kept in the end: about 100 steps."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def numbers(self) -> dict[str, Any]:
        """Return all numbers as JSON would hold them."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in (asdict(self) | {"augmentation": _as_lists(asdict(self.augmentation))}).items()
        }


COMPACT_CNN = Recipe()


def _as_lists(ranges: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in ranges.items()}


def training_batches(
    pixels: np.ndarray, targets: np.ndarray, recipe: Recipe, first_step: int, last_step: int
) -> tf.data.Dataset:
    """Yield (films uint8, targets one-hot float32) for the steps from `first_step` up to `last_step`.

    Each batch follows from the seed and the step's number alone, so that a resumed run sees what the killed one would
    have seen. An epoch is one pass over the films in a new order; the odd films left at its end sit that epoch out.
    """
    films, hot = tf.constant(pixels), tf.constant(targets, tf.float32)
    steps = len(pixels) // recipe.batch

    def batch_at(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, place = step // steps, step % steps
        order = tf.random.experimental.stateless_shuffle(tf.range(len(pixels)), tf.stack([recipe.seed, epoch]))
        chosen = order[place * recipe.batch : (place + 1) * recipe.batch]
        seed = tf.stack([recipe.seed + 1, step])
        return augment(tf.gather(films, chosen), seed, recipe.augmentation), tf.gather(hot, chosen)

    numbers = tf.data.Dataset.range(first_step, last_step, output_type=tf.int32)
    return numbers.map(batch_at, num_parallel_calls=2, deterministic=True).prefetch(4)
