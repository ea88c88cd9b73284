"""Yield training batches, each determined by the seed and its number alone."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from training.augment import augment
from training.fixed_layers import FixedLayers
from training.recipe import Recipe
from training.split import Side


class Teacher(Protocol):
    """The interface of a teacher: it predicts images and their places."""

    def answer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, classes) and place logits (n, h, w, classes), float32, for uint8 images (n, ...)."""


def training_batches(
    side: Side,
    recipe: Recipe,
    first_step: int,
    last_step: int,
    *,
    teacher: Teacher | None = None,
    lower: FixedLayers | None = None,
) -> tf.data.Dataset:
    """Yield (images uint8, targets float32, weights float32) for the steps from `first_step` up to `last_step`.

    The teacher's predictions are mixed into the targets. With `lower`, the frozen layers, its output replaces the
    images, float32, as the input of the rest of the network. Where the recipe learns places too, the targets are a
    pair: for images (batch, classes), for places (batch, h, w, classes). Each batch is determined by the seed and the
    step's number alone, so that a resumed run sees what the killed one would have seen. An epoch is one pass over the
    images in a new order; an incomplete last batch is dropped.
    """
    images = tf.constant(side.pixels)
    drawn = tf.constant(side.drawn, tf.int32)
    hot = tf.constant(side.targets(recipe.classes), tf.float32)
    weights = tf.constant(side.weights(recipe.making_weight))
    boxes = tf.constant(side.find_boxes(), tf.float32) if recipe.augmentation.reframed else None
    steps = len(side.drawn) // recipe.batch

    def batch_at(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        epoch, place = step // steps, step % steps
        order = tf.random.experimental.stateless_shuffle(drawn, tf.stack([recipe.seed, epoch]))
        chosen = order[place * recipe.batch : (place + 1) * recipe.batch]
        seed = tf.stack([recipe.seed + 1, step])
        places = None if boxes is None else tf.gather(boxes, chosen)
        crops = augment(
            tf.gather(images, chosen), seed, recipe.augmentation, recipe.input_size, recipe.view, boxes=places
        )
        return crops, tf.gather(hot, chosen), tf.gather(weights, chosen)

    numbers = tf.data.Dataset.range(first_step, last_step, output_type=tf.int32)
    batches = numbers.map(batch_at, num_parallel_calls=2, deterministic=True)
    if teacher is not None:
        batches = batches.map(_taught(teacher, recipe))
    if lower is not None:
        # Last, since the teacher needs the images.
        batches = batches.map(_below(lower))
    return batches.prefetch(4)


def _below(lower: FixedLayers) -> Callable[..., tuple[Any, ...]]:
    """Replace the images by the frozen layers' output for them."""

    def answer(images: tf.Tensor, targets: Any, weights: tf.Tensor) -> tuple[Any, ...]:
        said = tf.numpy_function(lower.answer, [images], tf.float32)
        said.set_shape((images.shape[0], *lower.shape))
        return said, targets, weights

    return answer


def _taught(teacher: Teacher, recipe: Recipe) -> Callable[..., tuple[Any, ...]]:
    """Mix the teacher's probabilities for the same crops into the targets, and add its places where they are learned.

    Long distillation works because teacher and student see the same crop (Beyer et al. 2021, arXiv:2106.05237).
    """

    def mix(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[Any, ...]:
        said, logits = tf.numpy_function(teacher.answer, [images], (tf.float32, tf.float32))
        said.set_shape(labels.shape)
        targets = (1.0 - recipe.teacher_share) * labels + recipe.teacher_share * said
        if not recipe.place_weight:
            return images, targets, weights
        logits.set_shape((None, None, None, len(recipe.classes)))
        return images, (targets, tf.nn.softmax(logits / recipe.place_temperature)), weights

    return mix
