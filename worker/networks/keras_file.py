"""Open `model.keras`.

Keras fixes its backend on import, so this module imports it inside a function, and only in the process that predicts: a
network used before a fork hangs or crashes in the child (tensorflow#57877, tensorflow#51832).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import ModelUnavailable
from shared.models.spec import ModelSpec


def load_keras(spec: ModelSpec, weights: Path, backend: str) -> Any:
    """Load a verified Keras file on a backend; raise ModelUnavailable where it does not fit its spec."""
    os.environ["KERAS_BACKEND"] = backend
    # Growth leaves the rest of the GPU to others (tensorflow.org/guide/gpu).
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    import keras  # noqa: PLC0415  # see the module's docstring

    if keras.backend.backend() != backend:
        raise ModelUnavailable(
            f"Keras runs on {keras.backend.backend()} here already, {backend} was asked for. Start a new process."
        )
    model = keras.saving.load_model(weights, compile=False, safe_mode=True)
    check_shapes(spec, [tuple(tensor.shape) for tensor in model.inputs], [tuple(t.shape) for t in model.outputs])
    return model


def check_shapes(spec: ModelSpec, inputs: Sequence[tuple], outputs: Sequence[tuple]) -> None:
    """Check a network's shapes (None where any size will do) against its spec."""
    image = (spec.input_size, spec.input_size, 1)
    if (
        len(inputs) != 1
        or len(inputs[0]) != 4
        or any(a not in {None, b} for a, b in zip(inputs[0][1:], image, strict=True))
    ):
        raise ModelUnavailable(f"Model '{spec.name}' takes images shaped {inputs}; its spec says {image}.")
    classes = len(spec.classes)
    places = outputs[1:]
    if outputs[0][1:] != (classes,) or len(places) > 1 or any((len(p), p[-1]) != (4, classes) for p in places):
        raise ModelUnavailable(
            f"Model '{spec.name}' answers in shapes {outputs}; its spec names {classes} classes. "
            "Expected logits (N, classes), alone or with their places (N, h, w, classes)."
        )
