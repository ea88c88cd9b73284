"""The teacher of compact-cnn: MobileNetV2 from its ImageNet weights, trained not to judge images by how they were made.

Sandler et al. 2018 (arXiv:1801.04381). Twice as many multiply-adds as compact-cnn and mostly depthwise, so three times
as slow on CPUs; it has features from ImageNet that thousands of images do not teach.
"""

from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from training.errors import WeightsUnusable
from training.recipe import Phase, Recipe
from training.recipes.compact_cnn import standardise
from training.registry import PLACES, RANDOM, network
from training.weights import read_arrays

RECIPE = Recipe(
    name="mobilenet-v2",
    network="mobilenet_v2",
    description="MobileNetV2 with ImageNet weights, trained on every layer",
    input_size=160,
    pretrained="mobilenet_v2_1.0_imagenet_folded.npz",
    phases=(Phase(epochs=12, peak_rate=5e-4),),
    final_rate=2e-5,
    weight_decay=0.02,
    making_weight=4.0,
)

EPSILON: Final = 1e-3
"""Of every batch normalisation in keras.applications.MobileNetV2."""
SETTLING_IMAGES: Final = 64


@network
def mobilenet_v2(size: int, classes: int) -> keras.Model:
    """Build MobileNetV2 1.0 on one grey channel repeated three times, with logits at each place."""
    return on_grey(size, classes, "mobilenet_v2")


def on_grey(size: int, classes: int, name: str, smoothed: bool = False) -> keras.Model:
    """Build MobileNetV2 1.0 under a name; `smoothed` adds a 1, 2, 1 filter before its first layer."""
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = standardise(x, size)
    if smoothed:
        x = smooth(x)
    # ImageNet images have a standard deviation of about 0.5 on the scale from -1 to 1.
    x = layers.Rescaling(0.5, name="imagenet_scale")(x)
    x = layers.Concatenate(name="three_channels")([x, x, x])
    base = keras.applications.MobileNetV2(input_shape=(size, size, 3), include_top=False, weights=None, input_tensor=x)
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            # The published 0.999 is for runs with a hundred times as many steps.
            layer.momentum = 0.95
    x = layers.SpatialDropout2D(0.2, name="dropout")(base.output)
    x = layers.Conv2D(classes, 1, name=PLACES)(x)
    logits = layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(image, logits, name=name)


def smooth(x: keras.KerasTensor) -> keras.KerasTensor:
    """Filter with weights 1, 2, 1, down and across: the mean of 2x2 pixels, applied twice.

    It removes most of the JPEG artefacts by which two sizes of one image differ.
    """
    x = layers.ZeroPadding2D(1, name="smooth_border")(x)
    for turn in ("first", "second"):
        x = layers.AveragePooling2D(2, strides=1, name=f"smooth_{turn}")(x)
    return x


def start(model: keras.Model, weights: Path | None, images: np.ndarray) -> str:
    """Load ImageNet weights with folded normalisation, and set each normalisation so that the network stays the same.

    The file holds convolutions with their normalisation folded in: keys `NN_OP_w` and `NN_OP_b` in layer order, (out,
    height, width, in). With a batch's mean and variance in place of ImageNet's, the normalisations would undo the
    loaded scales; so each gets the mean and variance of its convolution's output on `images`, uint8 (n, size, size, 1),
    and the scale and shift that cancel them: the network computes the same and can be trained.
    Returns where the weights came from; without a file the network is unchanged.
    Raises WeightsUnusable where the file cannot be read or holds other layers.
    """
    if weights is None:
        return RANDOM
    kernels, biases = _read(weights)
    folded = [layer for layer in model.layers if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)]
    folded = [layer for layer in folded if layer.name != PLACES]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    if len(kernels) != len(folded) + 1:
        raise WeightsUnusable(
            f"{weights.name} holds {len(kernels)} layers; MobileNetV2 1.0 has {len(folded)} and a classifier. "
            "Give the file with folded batch normalisation."
        )
    chosen = images[:SETTLING_IMAGES]
    for layer, norm, kernel, bias in zip(folded, norms, kernels[:-1], biases[:-1], strict=True):
        shaped = np.transpose(kernel, (1, 2, 3, 0))
        if shaped.shape != layer.kernel.shape:
            raise WeightsUnusable(
                f"{weights.name}: layer {layer.name} needs {layer.kernel.shape}, received {shaped.shape}."
            )
        layer.kernel.assign(shaped)
        answers = keras.ops.convert_to_numpy(keras.Model(model.input, layer.output)(chosen))
        mean, variance = answers.mean(axis=(0, 1, 2)), answers.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + EPSILON), bias + mean, mean, variance])
    return f"ImageNet weights ({weights.name})"


def _read(weights: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    stored = read_arrays(weights, "an .npz file of MobileNetV2 1.0 with folded batch normalisation").by_name
    names = sorted(stored)
    kernels = [stored[name] for name in names if name.endswith("_w")]
    return kernels, [stored[name] for name in names if name.endswith("_b")]
