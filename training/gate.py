"""Measure the gate, or make its weights from the shared data: `python -m training.gate`, with `--train`.

Six minutes on one core. Pictures are drawn anew for every round (`training.gate_pictures`); the patients, sources and
pictures that the gate is measured on are never among them.
"""

import argparse
from pathlib import Path
from typing import Final

import keras
import numpy as np
from keras import layers

from shared.images import gate
from training.gate_figures import measure, table
from training.gate_pictures import SHARES, Painter, chest_files, other_files, photographs, read_pools

ROUNDS: Final = 10
PICTURES: Final = 16_000
"""Of a round; each is seen EPOCHS times."""
EPOCHS: Final = 3
BATCH: Final = 128
RATE: Final = 2e-3


def draw_round(painter: Painter, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures of all kinds in their shares: uint8 (pictures, SIDE, SIDE) and the number of each one's kind."""
    kinds = rng.choice(len(gate.KINDS), count, p=[SHARES[kind] for kind in gate.KINDS])
    return np.stack([painter.draw(gate.KINDS[kind], rng) for kind in kinds]), kinds


def normalise(pixels: np.ndarray) -> np.ndarray:
    """Return thumbnails as `Network.tell` normalises them, float32 (pictures, SIDE, SIDE, 1)."""
    x = pixels.astype(np.float32) / 255
    x = (x - x.mean(axis=(1, 2), keepdims=True)) / (x.std(axis=(1, 2), keepdims=True) + 0.02)
    return np.asarray(x[..., np.newaxis])


def train(painter: Painter) -> gate.Network:
    """Teach a network on pictures of a painter and return its weights."""
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
    """Train the gate and write its weights into the product, or measure those that are there."""
    asked = argparse.ArgumentParser(description=main.__doc__)
    asked.add_argument("--data", type=Path, default=Path("..") / "shared" / "data", help="The shared data.")
    asked.add_argument("--train", action="store_true", help="Make the weights anew before they are measured.")
    given = asked.parse_args()
    if given.train:
        chest = read_pools(chest_files(given.data, held_back=False), with_lungs=True)
        network = train(Painter(chest, read_pools(other_files(given.data, held_back=False)), photographs()))
        fields = {name: array.astype(np.float16) for name, array in network._asdict().items()}
        np.savez_compressed(gate.FOLDER / f"{gate.VERSION}.npz", **fields)
    for line in table(measure(given.data)):
        print(line)


if __name__ == "__main__":
    main()
