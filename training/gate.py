"""Measure the gate, or make its weights from the shared data and CTs: `python -m training.gate`, with `--train`.

Fifteen minutes on one core of a loaded machine. New pictures are drawn for every round (`training.gate_pictures`); the
patients, sources and pictures that the gate is measured on are never among them.
"""

import argparse
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from shared.images import gate
from training.gate_figures import measure, measure_views, table, time_taken
from training.gate_pictures import (
    SHARES,
    Painter,
    chest_files,
    other_files,
    patient_of,
    photographs,
    read_pools,
    read_views,
)

ROUNDS: Final = 14
PICTURES: Final = 16_000
"""Pictures per round; each is used EPOCHS times."""
EPOCHS: Final = 3
BATCH: Final = 128
RATE: Final = 2e-3


def draw_round(painter: Painter, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures of all kinds in their shares: uint8 (pictures, SIDE, SIDE) and each one's kind as its number."""
    kinds = rng.choice(len(gate.KINDS), count, p=[SHARES[kind] for kind in gate.KINDS])
    return np.stack([painter.draw(gate.KINDS[kind], rng) for kind in kinds]), kinds


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Return thumbnails as `Network.tell` normalises them, float32 (pictures, SIDE, SIDE, 1)."""
    x = pixels.astype(np.float32) / 255
    x = (x - x.mean(axis=(1, 2), keepdims=True)) / (x.std(axis=(1, 2), keepdims=True) + 0.02)
    return np.asarray(x[..., np.newaxis])


def train(painter: Painter) -> gate.Network:
    """Train a network on a painter's pictures and return its weights."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential([
        keras.Input((gate.SIDE, gate.SIDE, 1)),
        layers.Conv2D(16, 5, strides=2, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Conv2D(48, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(len(gate.KINDS)),
    ])  # fmt: skip
    steps = ROUNDS * EPOCHS * (PICTURES // BATCH)
    network.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(RATE, steps), weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rng = np.random.default_rng(1)
    for _ in range(ROUNDS):
        pixels, kinds = draw_round(painter, PICTURES, rng)
        network.fit(normalise(pixels), kinds, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    arrays = [array for layer in network.layers for array in layer.get_weights()]
    flat = [array.reshape(-1, array.shape[-1]) if array.ndim == 4 else array for array in arrays]
    return gate.Network(*flat)


def main() -> None:
    """Measure the gate, after its weights were made anew if asked to."""
    asked = argparse.ArgumentParser(description=main.__doc__)
    asked.add_argument("--data", type=Path, default=Path("..") / "shared" / "data", help="The shared data.")
    asked.add_argument("--volumes", type=Path, help="CTs, in the folders chest and abdomen (docs/gate.md).")
    asked.add_argument("--train", action="store_true", help="Make the weights anew before they are measured.")
    asked.add_argument(
        "--leave-out", type=Path, metavar="CT", help="Train without this CT and measure its views; keep nothing."
    )
    given = asked.parse_args()
    if (given.train or given.leave_out) and given.volumes is None:
        asked.error("Lateral views are learnt from CTs: give --volumes DIR, laid out as docs/gate.md says.")
    if given.leave_out:
        network = train(painter(given.data, given.volumes, without=patient_of(given.leave_out)))
        print(*table(measure_views(network, given.leave_out)), sep="\n")
        return
    if given.train:
        fields = train(painter(given.data, given.volumes))._asdict()
        stored = {name: array.astype(np.float16) for name, array in fields.items()}
        np.savez_compressed(gate.FOLDER / f"{gate.VERSION}.npz", **stored)
    print(*table(measure(given.data)), "", time_taken(), sep="\n")


def painter(data: Path, volumes: Path, *, without: str = "") -> Painter:
    """Return the painter of the training pictures, made from all CTs but one patient's."""
    chest = read_pools(chest_files(data, held_back=False), with_lungs=True)
    others = read_pools(other_files(data, held_back=False))
    return Painter(chest, others, photographs(), read_views(volumes, without=without))


if __name__ == "__main__":
    main()
