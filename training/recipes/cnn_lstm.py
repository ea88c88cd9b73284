"""Published as CNN + LSTM: convolutions whose feature map is read row by row, from the top of the chest down.

Its authors show a confidence per image (92.65 % in their example) and the confusion matrix on the 624 images of the
official test split; this project's table of published work gives no accuracy for it. Published: the blocks, the Reshape
to a sequence, LSTM, Dense, softmax over two, Adam. Unpublished, and chosen here: widths, rates, epochs, input size.
"""

import keras
from keras import layers

from training.recipe import Phase
from training.recipes.published import PLAIN, published
from training.registry import network

RECIPE = published(
    name="cnn-lstm",
    network="cnn_lstm",
    description="Convolutions whose feature map an LSTM reads row by row, as published",
    input_size=128,
    phases=(Phase(epochs=25, peak_rate=1e-3),),
    optimizer="adam",
    schedule="constant",
    patience=5,
    augmentation=PLAIN,
)


@network
def cnn_lstm(size: int, classes: int) -> keras.Model:
    """Build four blocks of convolution, normalisation and pooling, and an LSTM over the rows of their feature map."""
    image = keras.Input((size, size, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    for number, width in enumerate((32, 64, 128, 128), start=1):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        # The running means must converge within an epoch of 150 steps.
        x = layers.BatchNormalization(momentum=0.9, name=f"block{number}_norm")(x)
        x = layers.ReLU(name=f"block{number}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    _, rows, columns, width = x.shape
    x = layers.Reshape((rows, columns * width), name="rows_as_steps")(x)
    x = layers.LSTM(128, name="lstm")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(64, activation="relu", name="dense")(x)
    logits = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, logits, name="cnn_lstm")
