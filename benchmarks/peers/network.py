"""Code that all peers share: the network, decoding of images, and the answer."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "models" / "whole-mobilenet"
CORES = os.cpu_count() or 1
BATCH = int(os.environ.get("PEER_BATCH", "32"))
"""The largest batch of the servers that batch."""
WAIT_SECONDS = float(os.environ.get("PEER_WAIT_SECONDS", "0.01"))
"""How long such a server waits for a batch to fill."""

Answer = dict[str, str | float]


class Network:
    """The Keras network on TensorFlow, without the heat map, which no peer returns."""

    def __init__(self) -> None:
        self.spec = json.loads((FOLDER / "spec.json").read_text())
        trained = keras.saving.load_model(FOLDER / "model.keras", compile=False)
        self.model = keras.Model(trained.input, trained.outputs[0])
        self.size: int = self.spec["input_size"]
        self._causes = np.array([name != "normal" for name in self.spec["classes"]])

    def warm_up(self) -> None:
        """Trace the network for one image and then for any number, so that no request waits for it."""
        blank = np.zeros((self.size, self.size, 1), np.uint8)
        for images in (1, 2):
            self.classify([blank] * images)

    def decode(self, file: bytes) -> np.ndarray:
        """Decode an image as tutorials do; return uint8 (size, size, 1)."""
        image = Image.open(io.BytesIO(file)).convert("L").resize((self.size, self.size))
        return np.asarray(image)[..., np.newaxis]

    def predict(self, file: bytes) -> Answer:
        """Classify one image by `predict`, as tutorials do."""
        return self._judge(self.model.predict(self.decode(file)[np.newaxis], verbose=0))[0]

    def classify(self, pixels: Sequence[np.ndarray]) -> list[Answer]:
        """Classify decoded images in one batch by `predict_on_batch`, which has less overhead than `predict`."""
        return self._judge(self.model.predict_on_batch(np.stack(pixels)))

    def classify_images(self, images: Sequence[bytes]) -> list[Answer]:
        """Decode images and classify them in one batch."""
        return self.classify([self.decode(file) for file in images])

    def _judge(self, logits: np.ndarray) -> list[Answer]:
        scaled = np.asarray(logits, np.float64) / self.spec["temperature"] + self.spec["bias"] * self._causes
        odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        shares = odds[:, self._causes].sum(axis=1) / odds.sum(axis=1)
        labels = np.where(shares >= self.spec["threshold"], "PNEUMONIA", "NORMAL")
        return [{"label": str(label), "p_pneumonia": float(share)} for label, share in zip(labels, shares, strict=True)]
