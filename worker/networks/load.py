"""Load the network of a model folder, once in each worker process.

The same Keras file runs on OpenVINO on CPU and on TensorFlow on GPU.
"""

import importlib.util
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np

from shared.errors import ModelUnavailable
from shared.images import gate
from shared.models.folder import read_members, read_named, read_spec, verify_weights
from shared.models.spec import ModelSpec
from shared.settings import PREFIX, Settings
from worker.networks.classifier import Classifier, EnsembleClassifier
from worker.networks.graphs import GraphFolder
from worker.networks.openvino import OpenVinoClassifier, export_apart
from worker.networks.tensorflow import TensorFlowClassifier

log = logging.getLogger(__name__)


def load_classifier(settings: Settings) -> Classifier:
    """Load the model named in the settings on the backend that fits this machine, from its cached graph if any.

    Raises ModelUnavailable as `load_model` does, and where the folder holds a model of another name or its spec names a
    gate that does not exist here.
    """
    spec = read_named(settings.models_dir, settings.model)
    if spec.gate is not None:
        gate.load(spec.gate.version, spec.gate.sha256)
    return load_model(settings.model_dir, choose_backend(settings), graphs=settings.graphs)


def load_model(folder: Path, backend: str, precision: str | None = None, graphs: Path | None = None) -> Classifier:
    """Verify a model folder and load its network, or every member's of an ensemble, on `openvino` or `tensorflow`.

    `precision`, `f32` or `bf16`, overrides what the specs say for OpenVINO. `graphs` is a folder that caches exported
    graphs.
    Raises ModelUnavailable where the folder is missing or damaged, its weights are not those of its spec or do not fit
    it, or the backend is not installed.
    """
    spec = read_spec(folder)
    weights = verify_weights(folder, spec)
    log.info("Loading %s on %s.", spec.version, backend)
    if not spec.members:
        return _load_network(spec, weights, backend, precision, graphs)
    members = [
        _load_network(own, verify_weights(folder.parent / member.name, own), backend, precision, graphs)
        for member, own in zip(spec.members, read_members(folder, spec), strict=True)
    ]
    return EnsembleClassifier(spec, members)


def choose_backend(settings: Settings) -> str:
    """Return the backend that the setting names; `auto` means TensorFlow where it and a GPU are available."""
    if settings.backend != "auto":
        return settings.backend
    has_gpu = shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
    return "tensorflow" if has_gpu and importlib.util.find_spec("tensorflow") else "openvino"


def _load_network(
    spec: ModelSpec, weights: Path, backend: str, precision: str | None, graphs: Path | None
) -> Classifier:
    """Load one network and screen two black images, which warms it up."""
    try:
        classifier = _on_backend(spec, weights, backend, precision, graphs)
        classifier.answer(np.zeros((2, spec.input_size, spec.input_size, 1), np.uint8))
    except (ModelUnavailable, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"Model '{spec.name}' cannot run on {backend}: the Python package '{error.name}' is not installed. "
            f"Run '{'make setup-training' if backend == 'tensorflow' else 'make setup'}'."
        ) from error
    except OSError as error:
        if error.errno is None:  # h5py raises it so for a file that is not HDF5
            raise _unusable(spec, weights, backend, error) from error
        raise ModelUnavailable(
            f"Model '{spec.name}': there is no place to write its graph ({error.strerror}). Make room, or name another "
            f"folder in {PREFIX}GRAPHS_DIR."
        ) from error
    except Exception as error:
        # Keras and OpenVINO raise ValueError, TypeError, KeyError, OSError, RuntimeError and more on a bad file.
        raise _unusable(spec, weights, backend, error) from error
    return classifier


def _unusable(spec: ModelSpec, weights: Path, backend: str, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        f"Model '{spec.name}': {backend} cannot run its {weights.name} ({_first_line(error)}). "
        "Restore the model folder."
    )


def _on_backend(spec: ModelSpec, weights: Path, backend: str, precision: str | None, graphs: Path | None) -> Classifier:
    if backend == "tensorflow":
        return TensorFlowClassifier(spec, weights)

    def export(graph: Path) -> None:
        export_apart(spec, weights, graph)

    precision = precision or spec.precision
    is_bad = False
    if graphs is not None:
        try:
            return OpenVinoClassifier(spec, GraphFolder(graphs).get(spec, export), precision)
        except OSError as error:
            log.warning("Graphs cannot be kept in %s (%s); this process makes one for itself.", graphs, error.strerror)
        except RuntimeError:
            log.warning("The kept graph of '%s' cannot be used and is made anew.", spec.name, exc_info=True)
            is_bad = True
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-") as passing:
        classifier = OpenVinoClassifier(spec, GraphFolder(Path(passing)).get(spec, export), precision)
    if graphs is not None and is_bad:  # the graph is broken, for example by a full disk; it is not the memory
        GraphFolder(graphs).discard(spec)
    return classifier


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
