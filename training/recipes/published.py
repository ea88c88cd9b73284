"""What the published recipes share: images left as they are, and the start from ImageNet weights."""

import logging
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import keras
from keras import layers

from training.augmentation import Augmentation
from training.errors import WeightsUnusable
from training.recipe import BINARY, Recipe
from training.registry import RANDOM

logger = logging.getLogger(__name__)

PLAIN: Final = Augmentation(
    untouched=0.0,
    rotation=0.0,
    shift=0.0,
    area=(1.0, 1.0),
    aspect=0.0,
    flip=0.0,
    flip_down=0.0,
    gamma=0.0,
    contrast=(0.0, 0.0),
    brightness=0.0,
    shading=0.0,
    bands=0.0,
    borrowed=0.0,
    noise=0.0,
    corners=0.0,
    corner_side=0.0,
)
"""Images as they are; a recipe replaces the ranges that its authors name."""

published: Final = partial(Recipe, classes=BINARY, batch=32, label_smoothing=0.0, average=None)
"""A recipe as its authors have it: two classes, hard labels, the raw weights."""

BLUE_GREEN_RED: Final = {"blue": 103.939, "green": 116.779, "red": 123.68}
"""Means of ImageNet's images, in the order of channels of VGG's weights (keras.applications.imagenet_utils)."""
SPREAD: Final = 64.0
"""About the standard deviation of grey levels, from 0 to 255, over the training images."""


def as_imagenet_image(image: keras.KerasTensor) -> keras.KerasTensor:
    """Give grey levels as the channels that VGG's ImageNet weights want: blue, green, red, less ImageNet's means."""
    channels = [layers.Rescaling(1.0, offset=-mean, name=name)(image) for name, mean in BLUE_GREEN_RED.items()]
    return layers.Concatenate(name="three_channels")(channels)


def as_unit_image(image: keras.KerasTensor) -> keras.KerasTensor:
    """Give grey levels three times, scaled from 0 to 1."""
    x = layers.Rescaling(1 / 255, name="scale")(image)
    return layers.Concatenate(name="three_channels")([x, x, x])


def against_normal(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Return logits (batch, classes) of which the first, normal, is zero.

    The softmax over (0, z) is the sigmoid of z, so a network that was published with one sigmoid keeps its function
    and its loss.
    """
    x = layers.Dense(classes - 1, name="against_normal")(x)
    x = layers.Reshape((classes - 1, 1), name="as_column")(x)
    x = layers.ZeroPadding1D((1, 0), name="normal_is_zero")(x)
    return layers.Reshape((classes,), name="logits")(x)


def start_like_he(model: keras.Model, spread: float = 1.0) -> None:
    """Draw the kernels of convolutions anew as in He et al. 2015 (arXiv:1502.01852).

    Keras draws them narrower (Glorot and Bengio 2010), at which the signal of sixteen convolutions without
    normalisation dies away: a VGG hardly learns. The first kernel is divided by `spread`, the standard deviation of
    what the network is given. Loaded weights replace all of this.
    """
    draw = keras.initializers.HeNormal()
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    for layer in convolutions:
        layer.kernel.assign(draw(layer.kernel.shape))
    convolutions[0].kernel.assign(convolutions[0].kernel / spread)


def load_imagenet(model: keras.Model, last: str, build: Callable[..., keras.Model], weights: Path | None) -> str:
    """Load ImageNet weights into the layers up to the one named `last`; return where they came from.

    `build` is the network's function in `keras.applications`. It reads `weights`, any file of its layers without the
    classifier that Keras reads, or downloads its own; where it cannot, the network stays as it was built.
    Raises WeightsUnusable where the file cannot be read or holds other layers.
    """
    base = keras.Model(model.input, model.get_layer(last).output)
    if weights is not None:
        base.set_weights(_read(build, weights).get_weights())
        return f"ImageNet weights ({weights.name})"
    try:
        downloaded = build(include_top=False, weights="imagenet")
    except Exception as error:  # noqa: BLE001 - what keras.utils.get_file raises for a network that is not there
        logger.warning("No ImageNet weights: %s. Starting from %s. --weights FILE gives some.", error, RANDOM)
        return RANDOM
    base.set_weights(downloaded.get_weights())
    return "ImageNet weights (keras.applications)"


def _read(build: Callable[..., keras.Model], weights: Path) -> keras.Model:
    expected = f"the weights of keras.applications.{build.__name__} without its classifier, an .h5 file"
    if not weights.is_file():
        raise WeightsUnusable(f"There is no file {weights}. Give {expected}.")
    try:
        # Keras warns of every layer that it passes over before it raises.
        with warnings.catch_warnings(action="ignore"):
            return build(include_top=False, weights=str(weights))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsUnusable(f"{weights.name} cannot be loaded ({reason}). Give {expected}.") from error
