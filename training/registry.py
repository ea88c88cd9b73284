"""Registry of networks, by the name of the function that builds each.

A builder takes the input size in pixels and the number of classes and returns a Keras model from uint8 (batch, size,
size, 1) to raw logits (batch, classes). Scaling is a layer inside it, so that a model folder needs no preprocessing of
its own beyond `shared.images.preprocess.prepare`. A layer named `places` holds the logits at each place of the last
feature map, (batch, h, w, classes), whose mean over the places is the image's logits; networks that have it can draw a
heat map.
"""

from collections.abc import Callable
from typing import Final

import keras

Builder = Callable[[int, int], keras.Model]
NETWORKS: Final[dict[str, Builder]] = {}
PLACES: Final = "places"
RANDOM: Final = "random initialisation"
"""Where the initial weights come from when none are loaded."""


def network(build: Builder) -> Builder:
    """Register a builder under its function's name."""
    if build.__name__ in NETWORKS:
        raise ValueError(f"A network is registered once. Received '{build.__name__}' twice.")
    NETWORKS[build.__name__] = build
    return build


def with_places(network: keras.Model) -> keras.Model:
    """Add the logits at each place as a second output of the network, where it has them."""
    if PLACES not in {layer.name for layer in network.layers}:
        return network
    return keras.Model(network.input, [network.output, network.get_layer(PLACES).output], name=network.name)
