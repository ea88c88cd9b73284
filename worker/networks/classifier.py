"""The interface of a loaded network: images in, logits out, and a map of where it saw evidence."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from shared.models.spec import ModelSpec


class Answers(NamedTuple):
    """A network's outputs for a batch of images."""

    logits: np.ndarray
    """float32 (N, classes)."""
    places: np.ndarray | None
    """float32 (N, h, w, classes), the logits at each place of the last feature map, whose mean over h and w is the
    image's logits: class activation maps (Zhou et al. 2016, arXiv:1512.04150), from the same forward pass. None from a
    network without them."""


class Classifier(Protocol):
    """A loaded network."""

    spec: ModelSpec

    def answer(self, batch: np.ndarray) -> Answers:
        """Run the network on uint8 (N, size, size, 1)."""

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Return the logits alone, float32 (N, classes)."""
        return self.answer(batch).logits


def to_answers(outputs: Sequence[np.ndarray]) -> Answers:
    """Convert a network's outputs, logits and (where it has them) places, to float32."""
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
        """Pool the members' maps place by place, then move each image's so that its mean is the image's logits.

        None where a member gives no map, or one of another size.
        """
        maps = [answers.places for answers in found if answers.places is not None]
        if len(maps) < len(found) or len({part.shape[1:3] for part in maps}) > 1:
            return None
        rows = [part.reshape(-1, part.shape[-1]) for part in maps]
        pooled = self.spec.pool([member.spec for member in self._members], rows)
        pooled = pooled.reshape(*maps[0].shape[:3], -1)
        return pooled - pooled.mean(axis=(1, 2), keepdims=True) + logits[:, np.newaxis, np.newaxis]
