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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from shared.errors import ModelUnavailable
from shared.modelfolder import read_members, read_spec, verify_weights
from shared.modelspec import ModelSpec
from shared.settings import Settings

log = logging.getLogger(__name__)


class Answers(NamedTuple):
    """What a network says of a batch of films."""

    logits: np.ndarray
    """float32 (N, classes)."""
    places: np.ndarray | None
    """float32 (N, h, w, classes), the logits at each place of the last feature map, whose mean over h and w is the
    film's logits: class activation maps (Zhou et al. 2016, arXiv:1512.04150), from the same forward pass. None from a
    network that does not give them."""


class Classifier(Protocol):
    """A loaded network."""

    spec: ModelSpec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network on uint8 (N, size, size, 1)."""

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Return the logits alone, float32 (N, classes)."""
        return self.answer(batch).logits


def load_classifier(settings: Settings) -> Classifier:
    """Load the model of the settings on the backend that fits this machine.

    Raises ModelUnavailable as `load_model` does.
    """
    return load_model(settings.model_dir, choose_backend(settings))


def load_model(folder: Path, backend: str, precision: str | None = None) -> Classifier:
    """Verify a model folder and load its network, or every member's of an ensemble, on `openvino` or `tensorflow`.

    `precision`, `f32` or `bf16`, is what OpenVINO computes in instead of what the specs say.
    Raises ModelUnavailable where the folder is missing or damaged, its weights are not those of its spec or do not fit
    it, or the backend is not installed.
    """
    spec = read_spec(folder)
    weights = verify_weights(folder, spec)
    log.info("Loading %s on %s.", spec.version, backend)
    if not spec.members:
        return _load_network(spec, weights, backend, precision)
    members = [
        _load_network(own, verify_weights(folder.parent / member.name, own), backend, precision)
        for member, own in zip(spec.members, read_members(folder, spec), strict=True)
    ]
    return EnsembleClassifier(spec, members)


def choose_backend(settings: Settings) -> str:
    """Take the backend that the setting names; `auto` takes TensorFlow where a GPU and TensorFlow are there."""
    if settings.backend != "auto":
        return settings.backend
    has_gpu = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    return "tensorflow" if has_gpu and importlib.util.find_spec("tensorflow") else "openvino"


def _load_network(spec: ModelSpec, weights: Path, backend: str, precision: str | None) -> Classifier:
    """Load one network and screen two black films, which warms it up."""
    try:
        classifier = _on_backend(spec, _load_keras(spec, weights, backend), backend, precision)
        classifier.answer(np.zeros((2, spec.input_size, spec.input_size, 1), np.uint8))
    except (ModelUnavailable, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"Model '{spec.name}' cannot run on {backend}: the Python package '{error.name}' is not installed. "
            "Run 'make setup'."
        ) from error
    except Exception as error:
        # Keras and OpenVINO raise ValueError, TypeError, KeyError, OSError, RuntimeError and more on such a file.
        raise ModelUnavailable(
            f"Model '{spec.name}': {backend} cannot run its {weights.name} ({_first_line(error)}). "
            "Restore the model folder."
        ) from error
    return classifier


def _on_backend(spec: ModelSpec, model: Any, backend: str, precision: str | None) -> Classifier:
    if backend == "tensorflow":
        return TensorFlowClassifier(spec, model)
    return OpenVinoClassifier(spec, model, precision or spec.precision)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _load_keras(spec: ModelSpec, weights: Path, backend: str) -> Any:
    os.environ["KERAS_BACKEND"] = backend
    # Growth leaves the rest of the GPU to others (tensorflow.org/guide/gpu).
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    import keras  # noqa: PLC0415  # see the module's docstring

    if keras.backend.backend() != backend:
        raise ModelUnavailable(
            f"Keras runs on {keras.backend.backend()} here already, {backend} was asked for. Start a new process."
        )
    model = keras.saving.load_model(weights, compile=False, safe_mode=True)
    _check_shapes(spec, [tuple(tensor.shape) for tensor in model.inputs], [tuple(t.shape) for t in model.outputs])
    return model


def _check_shapes(spec: ModelSpec, inputs: Sequence[tuple], outputs: Sequence[tuple]) -> None:
    """Compare a network's shapes, None where any size will do, with what its spec says of it."""
    film = (spec.input_size, spec.input_size, 1)
    if (
        len(inputs) != 1
        or len(inputs[0]) != 4
        or any(a not in {None, b} for a, b in zip(inputs[0][1:], film, strict=True))
    ):
        raise ModelUnavailable(f"Model '{spec.name}' takes films shaped {inputs}; its spec says {film}.")
    classes = len(spec.classes)
    places = outputs[1:]
    if outputs[0][1:] != (classes,) or len(places) > 1 or any((len(p), p[-1]) != (4, classes) for p in places):
        raise ModelUnavailable(
            f"Model '{spec.name}' answers in shapes {outputs}; its spec names {classes} classes. "
            "Expected logits (N, classes), alone or with their places (N, h, w, classes)."
        )


class OpenVinoClassifier(Classifier):
    """A network built by Keras on its OpenVINO backend and compiled once, for one film at a time.

    Keras's own `predict` compiles anew whenever the batch size changes. A fixed batch of one needs no padding, and on
    CPU costs little: of compact-cnn one core runs 271 films a second so, 279 by fours, 260 by sixteens, 236 by 32.
    """

    def __init__(self, spec: ModelSpec, model: Any, precision: str, threads: int = 1) -> None:
        import keras  # noqa: PLC0415  # see the module's docstring
        import openvino  # noqa: PLC0415

        one_film = keras.InputSpec(shape=(1, spec.input_size, spec.input_size, 1), dtype="uint8")
        core = openvino.Core()
        # One thread a process: workers scale by processes.
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Every process would pin its thread to the same core: two ran 450 films a second, unpinned 1,000.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        }
        with tempfile.TemporaryDirectory(prefix="pneumoscreen-") as folder:
            graph = Path(folder) / "model.xml"
            model.export(str(graph), format="openvino", verbose=False, input_signature=[one_film])
            self._request = core.compile_model(graph, "CPU", options).create_infer_request()
        self._outputs = len(model.outputs)
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network film by film on uint8 (N, size, size, 1)."""
        films = []
        for film in batch:
            found = self._request.infer({0: film[np.newaxis]})
            films.append([found[i].copy() for i in range(self._outputs)])
        return _answers([np.concatenate(rows) for rows in zip(*films, strict=True)])


def _precision(wanted: str, capabilities: Sequence[str]) -> str:
    """Say what OpenVINO is to compute in: bfloat16 only where it is wanted and the CPU has it.

    Asked for explicitly: left to itself OpenVINO takes bfloat16 wherever the CPU has it, and a model that was measured
    in float32 would give other figures on another machine.
    """
    return "bf16" if wanted == "bf16" and "BF16" in capabilities else "f32"


class TensorFlowClassifier(Classifier):
    """A network on TensorFlow in float32, as one traced function for any batch size."""

    def __init__(self, spec: ModelSpec, model: Any) -> None:
        import tensorflow as tf  # noqa: PLC0415  # see the module's docstring

        shape = tf.TensorSpec((None, spec.input_size, spec.input_size, 1), tf.uint8)
        self._function = tf.function(lambda batch: model(batch, training=False), input_signature=[shape])
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network on uint8 (N, size, size, 1)."""
        found = self._function(batch)
        return _answers([part.numpy() for part in (found if isinstance(found, list | tuple) else [found])])


def _answers(outputs: Sequence[np.ndarray]) -> Answers:
    logits, *places = (part.astype(np.float32) for part in outputs)
    return Answers(logits, places[0] if places else None)


class EnsembleClassifier(Classifier):
    """Several networks that answer as one: the weighted mean of their calibrated probabilities."""

    def __init__(self, spec: ModelSpec, members: Sequence[Classifier]) -> None:
        self._members = members
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run every member on uint8 (N, size, size, 1); the logits are those of `ModelSpec.pool`."""
        found = [member.answer(batch) for member in self._members]
        logits = self.spec.pool([member.spec for member in self._members], [answers.logits for answers in found])
        return Answers(logits, self._pool_places(found, logits))

    def _pool_places(self, found: Sequence[Answers], logits: np.ndarray) -> np.ndarray | None:
        """Pool the members' maps place by place, then move each film's so that its mean is the film's logits.

        None where a member gives no map, or one of another size.
        """
        maps = [answers.places for answers in found if answers.places is not None]
        if len(maps) < len(found) or len({part.shape[1:3] for part in maps}) > 1:
            return None
        rows = [part.reshape(-1, part.shape[-1]) for part in maps]
        pooled = self.spec.pool([member.spec for member in self._members], rows)
        pooled = pooled.reshape(*maps[0].shape[:3], -1)
        return pooled - pooled.mean(axis=(1, 2), keepdims=True) + logits[:, np.newaxis, np.newaxis]
