"""Load a Keras network and predict with it, for training and teaching; serving uses `worker.networks.load`."""

from pathlib import Path
from typing import Final

import keras
import numpy as np

from shared.errors import ModelUnavailable
from shared.models.folder import verify_weights
from shared.models.spec import ModelSpec

BATCH: Final = 32


def load_network(folder: Path, spec: ModelSpec) -> keras.Model:
    """Load a model folder's network after verifying its sha256.

    Raises ModelUnavailable where the file is missing, is not the one that the spec names or does not fit the spec.
    """
    network = keras.saving.load_model(verify_weights(folder, spec), compile=False, safe_mode=True)
    expected = ((spec.input_size, spec.input_size, 1), (len(spec.classes),))
    received = (tuple(network.inputs[0].shape[1:]), tuple(network.outputs[0].shape[1:]))
    if received != expected:
        raise ModelUnavailable(
            f"Model '{spec.name}': its weights do not fit its spec. The spec says input and output {expected}, "
            f"the network has {received}. Restore the model folder."
        )
    return network


def predict_logits(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Return the raw logits, float32 (images, classes), of uint8 images (images, size, size, 1).

    They are the first output of a network that also returns a map.
    """
    found = network.predict(pixels, batch_size=BATCH, verbose=0)
    return np.asarray(found[0] if isinstance(found, list | tuple) else found, dtype=np.float32)


def p_pneumonia(network: keras.Model, spec: ModelSpec, pixels: np.ndarray) -> np.ndarray:
    """Return the calibrated probability of pneumonia, float64 (images,), of uint8 (images, size, size, 1)."""
    return spec.p_pneumonia(spec.calibrate(predict_logits(network, pixels)))
