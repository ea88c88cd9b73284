"""Use trained models as teachers: their predictions for the same crops that the student sees."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import openvino

from evaluation.errors import DataUnusable
from shared.models.folder import read_spec
from training.evaluate import load_network
from training.recipe import Recipe
from training.registry import NETWORKS, with_places


class Teachers:
    """An ensemble of teachers: the mean of their probabilities, on OpenVINO, which is several times faster here."""

    def __init__(self, folders: Sequence[Path], recipe: Recipe) -> None:
        self._requests = [_compile(folder, recipe) for folder in folders]

    def answer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (n, classes) and place logits (n, h, w, classes), float32, for uint8 images (n, ...)."""
        said = [request.infer({0: images}) for request in self._requests]
        probabilities = np.stack([_softmax(answers[0]) for answers in said]).mean(axis=0)
        return probabilities, np.stack([answers[1] for answers in said]).mean(axis=0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _compile(folder: Path, recipe: Recipe) -> openvino.InferRequest:
    """Compile a model folder at the student's input size and batch.

    Raises DataUnusable where the model has other classes than the student.
    """
    spec = read_spec(folder)
    if spec.classes != recipe.classes:
        raise DataUnusable(
            f"Teacher '{spec.name}' tells {', '.join(spec.classes)}; {recipe.name} learns {', '.join(recipe.classes)}."
        )
    trained = load_network(folder, spec)
    # A network has the name of the function that builds it.
    network = NETWORKS[trained.name](recipe.input_size, len(recipe.classes))
    network.set_weights(trained.get_weights())
    network = with_places(network)
    one_batch = keras.InputSpec(shape=(recipe.batch, recipe.input_size, recipe.input_size, 1), dtype="uint8")
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-") as place:
        graph = Path(place) / "model.xml"
        network.export(str(graph), format="openvino", verbose=False, input_signature=[one_batch])
        # Two threads leave nothing idle on a laptop; the student's step waits for the teacher anyway.
        return openvino.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 2}).create_infer_request()
