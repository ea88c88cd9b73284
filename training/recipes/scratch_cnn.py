"""Published as a network built from scratch: convolutions, normalisation, pooling and dropout at 224x224.

Published figure, on the 624 images of the official test split: accuracy over 90 %, with "high recall". Published: the
kinds of layers, the sigmoid, input size, scaling to [0, 1], Adam, binary cross-entropy (which softmax over zero and one
logit gives too). Unpublished, and chosen here: widths, rates, epochs, early stopping.
"""

import keras
from keras import layers

from training.recipe import Phase
from training.recipes.published import PLAIN, against_normal, published
from training.registry import network

RECIPE = published(
    name="scratch-cnn",
    network="scratch_cnn",
    description="Convolutional network built from scratch, as published",
    input_size=224,
    phases=(Phase(epochs=25, peak_rate=1e-3),),
    optimizer="adam",
    schedule="constant",
    patience=5,
    augmentation=PLAIN,
)


@network
def scratch_cnn(size: int, classes: int) -> keras.Model:
    """Build five blocks of convolution, normalisation, pooling and dropout under a dense layer of 128."""
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    for number, width in enumerate((32, 64, 64, 128, 256), start=1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{number}_conv")(x)
        # The running means must converge within an epoch of 150 steps.
        x = layers.BatchNormalization(momentum=0.9, name=f"block{number}_norm")(x)
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
        x = layers.Dropout(0.2, name=f"block{number}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(image, against_normal(x, classes), name="scratch_cnn")
