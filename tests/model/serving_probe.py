"""Model folders written, served and worked on by commands, see probe.py: `python probe.py serving_probe.NAME ...`."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.model.probe import commands


def quick_commands(*lines: str) -> list[dict[str, Any]]:
    """Run `pneumoscreen` commands as `commands` does, with few draws for each interval."""
    from evaluation import metrics

    metrics.RESAMPLES = 50  # the intervals are tested elsewhere
    return commands(*lines)


def write_models(folder: str) -> None:
    """Write model folders whose networks answer from brightness alone, so that a test can compute what they must say.

    `causes` and `binary` give places, `plain` gives none, `large` takes 64 pixels.
    """
    weights = {"causes": (-6.0, 1.0, 2.0), "binary": (-4.0, 4.0), "plain": (3.0, -1.0, 0.5), "large": (-6.0, 1.0, 2.0)}
    for name, row in weights.items():
        _write_model(Path(folder) / name, row, size=64 if name == "large" else 32, has_places=name != "plain")


def _write_model(folder: Path, weights: tuple[float, ...], size: int, has_places: bool) -> None:
    import keras

    from shared.models.spec import ImageClass, ModelSpec

    image = keras.Input((size, size, 1), dtype="uint8")
    tiles = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(image))
    dense = keras.layers.Dense(len(weights))
    places = dense(tiles)
    logits = keras.layers.GlobalAveragePooling2D()(places)
    dense.set_weights([np.array([weights], np.float32), np.full(len(weights), 0.25, np.float32)])
    folder.mkdir(parents=True)
    keras.Model(image, [logits, places] if has_places else logits).save(folder / "model.keras")
    causes = (ImageClass.BACTERIAL, ImageClass.VIRAL) if len(weights) == 3 else (ImageClass.PNEUMONIA,)
    spec = ModelSpec(
        name=folder.name,
        description="Answers from brightness",
        input_size=size,
        classes=(ImageClass.NORMAL, *causes),
        temperature=1.5 if folder.name == "causes" else 1.0,
        bias=-0.5 if folder.name == "causes" else 0.0,
        threshold=0.4,
        threshold_rule="For tests",
        intended_population="None",
        training_data="None",
        licence="Apache-2.0",
        sha256=hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest(),
        parameters=2 * len(weights),
        commit="none",
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    (folder / "spec.json").write_text(spec.model_dump_json())


def start(model: str, graphs: str, batch: str) -> dict[str, Any]:
    """Load a model as a worker does that keeps graphs; return its answer and whether it holds Keras."""
    import sys

    from worker.networks.load import load_model

    logits = load_model(Path(model), "openvino", graphs=Path(graphs)).logits(np.load(batch))
    return {"logits": logits.tolist(), "imported_keras": "keras" in sys.modules}


def serve(folder: str, backend: str, batch: str, *names: str) -> dict[str, Any]:
    """Load model folders as a worker does; return what each answers to the images in an .npy, or why it cannot."""
    from shared.errors import ModelUnavailable
    from worker.networks.load import load_model

    found: dict[str, Any] = {}
    for name in names:
        try:
            answers = load_model(Path(folder) / name, backend).answer(np.load(batch))
        except ModelUnavailable as error:
            found[name] = {"refused": str(error)}
            continue
        places = None if answers.places is None else answers.places.tolist()
        found[name] = {"logits": answers.logits.tolist(), "places": places, "dtype": str(answers.logits.dtype)}
    return found
