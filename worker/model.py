"""The network at work: one model folder, loaded once in each worker process.

The same Keras file runs on OpenVINO on CPU and on TensorFlow on GPU. Keras fixes its backend when it is imported, so
this module imports it inside a function, and only in the process that predicts: a network touched before a fork hangs
or crashes in the child (tensorflow#57877, tensorflow#51832).
"""

import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from shared.errors import ModelUnavailable
from shared.modelspec import ModelSpec, read_spec, verify_weights
from shared.settings import Settings

log = logging.getLogger(__name__)


class Classifier(Protocol):
    """A loaded network."""

    spec: ModelSpec

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Return float32 (N, classes) for uint8 (N, size, size, 1)."""


def load_classifier(settings: Settings) -> Classifier:
    """Verify a model folder and load its network on the backend that fits this machine.

    Raises ModelUnavailable where the folder is missing, damaged, or its weights are not those of its spec.
    """
    spec = read_spec(settings.model_dir)
    weights = verify_weights(settings.model_dir, spec)
    backend = choose_backend(settings)
    log.info("Loading %s on %s.", spec.version, backend)
    classifier = TensorFlowClassifier(spec, weights) if backend == "tensorflow" else OpenVinoClassifier(spec, weights)
    _check_shape(classifier)
    return classifier


def choose_backend(settings: Settings) -> str:
    """Take the backend that the setting names; `auto` takes TensorFlow where a GPU and TensorFlow are there."""
    if settings.backend != "auto":
        return settings.backend
    has_gpu = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    return "tensorflow" if has_gpu and importlib.util.find_spec("tensorflow") else "openvino"


def _check_shape(classifier: Classifier) -> None:
    """Screen two black films: a network that does not fit its spec must not meet a real one. Also warms it up."""
    spec = classifier.spec
    received = classifier.logits(np.zeros((2, spec.input_size, spec.input_size, 1), np.uint8)).shape
    if received != (2, len(spec.classes)):
        raise ModelUnavailable(
            f"Model '{spec.name}' answers in shape {received}; its spec names {len(spec.classes)} classes."
        )


def _load_keras(weights: Path, backend: str) -> Any:
    os.environ["KERAS_BACKEND"] = backend
    import keras  # noqa: PLC0415  # see the module's docstring

    if keras.backend.backend() != backend:
        raise ModelUnavailable(
            f"Keras runs on {keras.backend.backend()} here already, {backend} was asked for. Start a new process."
        )
    return keras.saving.load_model(weights, compile=False, safe_mode=True)


class OpenVinoClassifier:
    """A network built by Keras on its OpenVINO backend and compiled once, for one film at a time.

    Keras's own `predict` compiles anew whenever the batch size changes. A fixed batch of one needs no padding, and on
    CPU costs little: of compact-cnn one core runs 271 films a second so, 279 by fours, 260 by sixteens, 236 by 32.
    """

    def __init__(self, spec: ModelSpec, weights: Path, threads: int = 1) -> None:
        model = _load_keras(weights, "openvino")
        import keras  # noqa: PLC0415  # see the module's docstring
        import openvino  # noqa: PLC0415

        one_film = keras.InputSpec(shape=(1, spec.input_size, spec.input_size, 1), dtype="uint8")
        # One thread a process: workers scale by processes. float32, because CPUs with bfloat16 would otherwise give
        # slightly other figures than those without.
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with tempfile.TemporaryDirectory(prefix="pneumoscreen-") as folder:
            graph = Path(folder) / "model.xml"
            model.export(str(graph), format="openvino", verbose=False, input_signature=[one_film])
            self._request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()
        self.spec = spec

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Run the network on uint8 (N, size, size, 1)."""
        rows = [self._request.infer({0: film[np.newaxis]})[0].copy() for film in batch]
        return np.concatenate(rows).astype(np.float32)


class TensorFlowClassifier:
    """A network on TensorFlow, as one traced function for any batch size."""

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        # Growth leaves the rest of the GPU to others (tensorflow.org/guide/gpu).
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        model = _load_keras(weights, "tensorflow")
        import tensorflow as tf  # noqa: PLC0415  # see the module's docstring

        shape = tf.TensorSpec((None, spec.input_size, spec.input_size, 1), tf.uint8)
        self._function = tf.function(lambda batch: model(batch, training=False), input_signature=[shape])
        self.spec = spec

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Run the network on uint8 (N, size, size, 1)."""
        return np.asarray(self._function(batch).numpy(), dtype=np.float32)
