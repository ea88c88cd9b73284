"""Published as InceptionV3, its ImageNet base frozen under the authors' own layers, chosen over VGG16.

No figure was published for it. Published: the frozen base, one output for two classes, rotation, scaling and flips of
images, early stopping after 15 epochs. Unpublished, and chosen here: the layers on top, Adam and its rate, how far
images are turned and scaled, flips left to right only, the patience.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from training.errors import SizeUnusable
from training.recipe import Phase
from training.recipes.published import PLAIN, against_normal, load_imagenet, published
from training.registry import network
from training.weights import StoredArrays

RECIPE = published(
    name="inception-v3",
    network="inception_v3",
    description="InceptionV3 with its base held fixed, as published",
    input_size=299,
    pretrained="inception_v3_nsfwjs_notop.npz",
    phases=(Phase(epochs=15, peak_rate=1e-3, fixed_to="mixed10"),),
    optimizer="adam",
    schedule="constant",
    patience=4,
    augmentation=replace(PLAIN, rotation=15.0, area=(0.8, 1.2), flip=0.5),
)

SMALLEST: Final = 75
"""The least side in pixels; below it the base has nothing left to pool (keras.applications.InceptionV3)."""


@network
def inception_v3(size: int, classes: int) -> keras.Model:
    """Build InceptionV3 (Szegedy et al. 2015, arXiv:1512.00567) under a dense layer of 256 and one sigmoid.

    Raises SizeUnusable below 75 pixels.
    """
    if size < SMALLEST:
        raise SizeUnusable(f"InceptionV3 needs images of {SMALLEST} pixels or more. Received {size}.")
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = layers.Concatenate(name="three_channels")([x, x, x])
    base = keras.applications.InceptionV3(include_top=False, weights=None, input_tensor=x)
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            # From random weights the running means must converge within an epoch of 150 steps.
            layer.momentum = 0.9
    x = layers.GlobalAveragePooling2D(name="pool")(base.output)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, against_normal(x, classes), name="inception_v3")


def start(model: keras.Model, weights: Path | None, _images: np.ndarray) -> str:
    """Load InceptionV3's ImageNet weights, see `published.load_imagenet`."""
    return load_imagenet(model, "mixed10", keras.applications.InceptionV3, weights, load_by_place)


def load_by_place(base: keras.Model, arrays: StoredArrays) -> str:
    """Assign arrays to layers by their position among their kind, such as `00_conv__kernel` and `00_norm__beta`.

    Such a file was trained on images from 0 to 1: on photographs scaled so, its first convolution gives the means
    stored in its normalisation (correlation 0.998; 0.075 from -1 to 1). The first layer is adapted to take -1 to 1.
    """
    convolutions = [layer for layer in base.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in base.layers if isinstance(layer, layers.BatchNormalization)]
    by_place = {f"{place:02}_conv": layer for place, layer in enumerate(convolutions)}
    arrays.assign(by_place | {f"{place:02}_norm": layer for place, layer in enumerate(norms)})
    half = keras.ops.convert_to_numpy(convolutions[0].kernel) / 2
    convolutions[0].kernel.assign(half)
    # x / 255 is half of x / 127.5 - 1, plus a half; the convolution of that half goes into the subtracted mean.
    norms[0].moving_mean.assign(norms[0].moving_mean - half.sum(axis=(0, 1, 2)))
    return "made for images from 0 to 1, its first layer changed to take -1 to 1"
