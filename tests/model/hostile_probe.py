"""What test_hostile_models.py runs in a process of its own, see probe.py."""

import hashlib
from pathlib import Path

from shared.errors import ModelUnavailable
from tests.model.serving_probe import write_models


def load_lambda(folder: str) -> list[str]:
    """Write a network with a Lambda layer that leaves a trace, and load it as a worker does; return what was said.

    Twice: with the sha256 that its spec named before, and with its own, as whoever passes on a model folder would.
    """
    import keras

    from shared.models.folder import read_spec
    from worker.networks.load import load_model

    root = Path(folder)
    write_models(folder)
    place, trace = root / "causes", root / "trace"

    def leave_trace(x: keras.KerasTensor) -> keras.KerasTensor:
        trace.write_text("ran")
        return x

    image = keras.Input((32, 32, 1), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    touched = keras.layers.Lambda(lambda x, run=leave_trace: run(x))(scaled)
    keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(touched))).save(
        place / "model.keras"
    )
    trace.unlink()
    own = hashlib.sha256((place / "model.keras").read_bytes()).hexdigest()
    said = []
    for sha256 in (read_spec(place).sha256, own):
        spec = read_spec(place).model_copy(update={"sha256": sha256})
        (place / "spec.json").write_text(spec.model_dump_json())
        try:
            load_model(place, "openvino")
        except ModelUnavailable as error:
            said.append(str(error))
    return [*said, *(["it ran"] if trace.exists() else [])]
