"""Run the network on TensorFlow: for GPUs, and as the reference for the other backends."""

from pathlib import Path

import numpy as np

from shared.models.spec import ModelSpec
from worker.networks.classifier import Answers, Classifier, to_answers
from worker.networks.keras_file import load_keras


class TensorFlowClassifier(Classifier):
    """A network on TensorFlow in float32, as one traced function for any batch size."""

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        model = load_keras(spec, weights, "tensorflow")
        import tensorflow as tf  # noqa: PLC0415  # see worker.networks.keras_file

        shape = tf.TensorSpec((None, spec.input_size, spec.input_size, 1), tf.uint8)
        self._function = tf.function(lambda batch: model(batch, training=False), input_signature=[shape])
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network on uint8 (N, size, size, 1)."""
        found = self._function(batch)
        return to_answers([part.numpy() for part in (found if isinstance(found, list | tuple) else [found])])
