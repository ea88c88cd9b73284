"""The layers of a network that a training holds fixed, run by OpenVINO, which is ten times as fast as training them.

What they say of a crop is handed to the layers above, which alone are a Keras model while they learn. On two cores that
makes pretrained networks affordable: MobileNetV2 up to its twelfth block costs half a millisecond a crop.
"""

import tempfile
import threading
from pathlib import Path

import keras
import numpy as np
import openvino

from training.recipe import Recipe


class Lower:
    """A network up to and including the layer that the recipe names, with the weights that it has now."""

    def __init__(self, network: keras.Model, recipe: Recipe) -> None:
        last = network.get_layer(recipe.fixed_to)
        self.shape = tuple(last.output.shape[1:])
        self._batch = recipe.batch
        below = keras.Model(network.input, last.output)
        one_batch = keras.InputSpec(shape=(recipe.batch, *network.input.shape[1:]), dtype="uint8")
        with tempfile.TemporaryDirectory(prefix="pneumoscreen-") as place:
            graph = Path(place) / "lower.xml"
            below.export(str(graph), format="openvino", verbose=False, input_signature=[one_batch])
            compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 2})
        self._request = compiled.create_infer_request()
        # Batches are made ahead while held-out images are measured.
        self._turn = threading.Lock()

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Return what the layer says, float32 (images, h, w, channels), of uint8 (images, size, size, 1)."""
        parts = []
        for start in range(0, len(images), self._batch):
            some = images[start : start + self._batch]
            # The graph takes whole batches.
            whole = np.concatenate([some, np.zeros((self._batch - len(some), *images.shape[1:]), images.dtype)])
            with self._turn:
                parts.append(self._request.infer({0: whole})[0][: len(some)].copy())
        return np.concatenate(parts)


def upper(network: keras.Model, recipe: Recipe) -> keras.Model:
    """Return the layers above the fixed ones as a model of what `Lower` says; its layers are the network's own."""
    return keras.Model(network.get_layer(recipe.fixed_to).output, network.output, name=network.name)


def put_back(network: keras.Model, learned: keras.Model) -> None:
    """Give a network the weights of the layers that learned, which bear the same names."""
    for layer in learned.layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())
