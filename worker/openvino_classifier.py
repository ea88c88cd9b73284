"""The network on OpenVINO: the fastest way on CPUs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.modelspec import ModelSpec
from worker.classifier import Answers, Classifier, to_answers
from worker.kerasfile import check_shapes, load_keras


def export_graph(spec: ModelSpec, weights: Path, graph: Path) -> None:
    """Write the graph of a Keras file that takes one film at a time to `graph` and a file of weights beside it.

    A fixed batch of one needs no padding, and on CPU costs little: of compact-cnn one core runs 271 films a second so,
    279 by fours, 260 by sixteens, 236 by 32. Keras's own `predict` compiles anew whenever the batch size changes.
    """
    model = load_keras(spec, weights, "openvino")
    import keras  # noqa: PLC0415  # see worker.kerasfile

    one_film = keras.InputSpec(shape=(1, spec.input_size, spec.input_size, 1), dtype="uint8")
    model.export(str(graph), format="openvino", verbose=False, input_signature=[one_film])


class OpenVinoClassifier(Classifier):
    """A compiled graph that takes one film at a time."""

    def __init__(self, spec: ModelSpec, graph: Path, precision: str, threads: int = 1) -> None:
        import openvino  # noqa: PLC0415  # only the process that predicts pays for it

        core = openvino.Core()
        # One thread a process: workers scale by processes.
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Every process would pin its thread to the same core: two ran 450 films a second, unpinned 1,000.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        }
        compiled = core.compile_model(graph, "CPU", options)
        check_shapes(spec, *([tuple(port.shape) for port in ports] for ports in (compiled.inputs, compiled.outputs)))
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network film by film on uint8 (N, size, size, 1)."""
        films = []
        for film in batch:
            found = self._request.infer({0: film[np.newaxis]})
            films.append([found[i].copy() for i in range(self._outputs)])
        return to_answers([np.concatenate(rows) for rows in zip(*films, strict=True)])


def _precision(wanted: str, capabilities: Sequence[str]) -> str:
    """Say what OpenVINO is to compute in: bfloat16 only where it is wanted and the CPU has it.

    Asked for explicitly: left to itself OpenVINO takes bfloat16 wherever the CPU has it, and a model that was measured
    in float32 would give other figures on another machine.
    """
    return "bf16" if wanted == "bf16" and "BF16" in capabilities else "f32"
