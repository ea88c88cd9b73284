"""Run the network on OpenVINO, the fastest backend on CPUs."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import ModelUnavailable
from shared.models.spec import ModelSpec
from shared.process.orphans import end_with_parent
from shared.settings import REPOSITORY
from worker.networks.classifier import Answers, Classifier, to_answers
from worker.networks.keras_file import check_shapes, load_keras

log = logging.getLogger(__name__)

_REFUSED: Final = 2
"""Exit status of an export whose file does not fit its spec."""
_NO_DISK: Final = 3
"""Exit status of an export that could not write; its output is the error's number."""
_EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}

EXPORT_SIZE: Final = 4
"""An export briefly holds two copies of the weights, in float32 where the file may have less."""

IMAGES_PER_RUN: Final = 4
"""Images that the graph takes at a time; fewer are padded with black ones. One core runs 1,690 images a second of
compact-cnn by ones, 1,860 by fours and as many by sixteens; a single image then takes 2 ms instead of 0.6. Keras's own
`predict` recompiles whenever the batch size changes."""


def export_apart(spec: ModelSpec, weights: Path, graph: Path) -> None:
    """Run `export_graph` in a process of its own: 200 MB of Keras would stay in the worker.

    Raises ModelUnavailable as it does, OSError where the disk cannot be written, RuntimeError with the last line of any
    other error. It does not use multiprocessing, which gives a pool's worker no children.
    """
    asked = json.dumps({"spec": spec.model_dump(mode="json"), "weights": str(weights), "graph": str(graph)})
    command = [sys.executable, "-m", "worker.networks.openvino"]
    ended = subprocess.run(  # noqa: S603  # our own module
        command, cwd=REPOSITORY, input=asked, capture_output=True, text=True, check=False
    )
    if ended.returncode == _REFUSED:
        raise ModelUnavailable(ended.stdout.strip())
    if ended.returncode == _NO_DISK:
        number = int(ended.stdout)
        raise OSError(number, os.strerror(number), str(graph.parent))
    if ended.returncode != 0 and _lacks_room(weights, graph.parent):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(graph.parent))
    if ended.returncode != 0:
        raise RuntimeError((ended.stderr.strip() or f"status {ended.returncode}").splitlines()[-1])


def _lacks_room(weights: Path, folder: Path) -> bool:
    """Tell whether a disk has too little room for an export: on a full one OpenVINO only says "iostream error"."""
    return shutil.disk_usage(folder).free < EXPORT_SIZE * weights.stat().st_size


def export_graph(spec: ModelSpec, weights: Path, graph: Path) -> None:
    """Write the graph of a Keras file, for IMAGES_PER_RUN images at a time, to `graph` and its weights beside it."""
    model = load_keras(spec, weights, "openvino")
    import keras  # noqa: PLC0415  # see worker.networks.keras_file
    import openvino  # noqa: PLC0415  # only the process that predicts pays for it

    from worker.networks.layout import sink_transposes  # noqa: PLC0415  # imports openvino

    images = keras.InputSpec(shape=(IMAGES_PER_RUN, spec.input_size, spec.input_size, 1), dtype="uint8")
    with tempfile.TemporaryDirectory(dir=graph.parent) as passing:
        exported = Path(passing) / graph.name
        model.export(str(exported), format="openvino", verbose=False, input_signature=[images])
        core = openvino.Core()
        as_exported, made = core.read_model(exported), core.read_model(exported)
        try:
            sink_transposes(made)
            is_good = _agree(core, as_exported, made)
        except RuntimeError:
            log.warning("The graph of '%s' could not be made faster.", spec.name, exc_info=True)
            is_good = False
        if not is_good:
            log.warning("The graph of '%s' is used as Keras exported it.", spec.name)
            made = core.read_model(exported)
        openvino.save_model(made, graph, compress_to_fp16=False)


def _agree(core: Any, one: Any, other: Any) -> bool:
    """Tell whether two graphs agree in float32 on noise, which any wrong axis order would change."""
    images = np.random.default_rng(0).integers(0, 256, tuple(one.input().shape), np.uint8)
    answers = [list(core.compile_model(graph, "CPU", _EXACT)(images).values()) for graph in (one, other)]
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(*answers, strict=True))


class OpenVinoClassifier(Classifier):
    """A compiled graph that takes IMAGES_PER_RUN images at a time."""

    def __init__(self, spec: ModelSpec, graph: Path, precision: str, threads: int = 1) -> None:
        import openvino  # noqa: PLC0415  # only the process that predicts pays for it

        core = openvino.Core()
        # One thread per process: workers scale by processes.
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Every process would pin its thread to the same core: two ran 450 images a second, unpinned 1,000.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        }
        compiled = core.compile_model(graph, "CPU", options)
        check_shapes(spec, *([tuple(port.shape) for port in ports] for ports in (compiled.inputs, compiled.outputs)))
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network on uint8 (N, size, size, 1), IMAGES_PER_RUN at a time."""
        runs = [self._run(batch[start : start + IMAGES_PER_RUN]) for start in range(0, len(batch), IMAGES_PER_RUN)]
        return to_answers([np.concatenate(rows) for rows in zip(*runs, strict=True)])

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        filled = images
        if len(images) < IMAGES_PER_RUN:
            filled = np.zeros((IMAGES_PER_RUN, *images.shape[1:]), images.dtype)
            filled[: len(images)] = images
        found = self._request.infer({0: filled})
        return [found[i][: len(images)].copy() for i in range(self._outputs)]


def _precision(wanted: str, capabilities: Sequence[str]) -> str:
    """Choose OpenVINO's precision: bfloat16 only where it is wanted and the CPU supports it.

    It is always set: by default OpenVINO uses bfloat16 wherever the CPU has it, and a model measured in float32 would
    give other figures on another machine.
    """
    return "bf16" if wanted == "bf16" and "BF16" in capabilities else "f32"


def _export_as_asked() -> None:
    end_with_parent()  # an export for a killed worker is of no use
    asked = json.load(sys.stdin)
    try:
        export_graph(ModelSpec.model_validate(asked["spec"]), Path(asked["weights"]), Path(asked["graph"]))
    except ModelUnavailable as error:
        sys.stdout.write(str(error))
        sys.exit(_REFUSED)
    except OSError as error:
        if error.errno is None:  # h5py raises it so for a file that is not HDF5
            raise
        sys.stdout.write(str(error.errno))
        sys.exit(_NO_DISK)


if __name__ == "__main__":
    _export_as_asked()
