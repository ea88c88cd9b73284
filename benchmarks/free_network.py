"""Run workers with a network that costs nothing, to measure the queue alone.

`celery -A benchmarks.free_network worker` differs from `celery -A worker.app worker` in three ways: images are neither
read nor decoded, no thumbnail is written, and the network answers at once. Tickets, claims, leases and rows are the
product's.
"""

from collections.abc import Collection

import numpy as np

from shared.errors import ImageRejected
from shared.images.exposure import Exposure
from shared.images.framing import WHOLE
from shared.models.folder import read_spec
from shared.models.spec import ModelSpec
from shared.queue.leases import ClaimedScreening
from shared.refusals import Rejection
from shared.settings import Settings
from worker import app as _app
from worker import process
from worker.networks.classifier import Answers, Classifier
from worker.screening.screen import Prepared, Screener

app = _app.app


class FreeClassifier(Classifier):
    """Returns constant predictions."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def answer(self, batch: np.ndarray) -> Answers:
        """Return the same logits for every image of the batch."""
        return Answers(np.zeros((len(batch), len(self.spec.classes)), np.float32), None)


class FreeScreener(Screener):
    """Skips reading and decoding images."""

    _NOTHING = Prepared(np.zeros((1, 1, 1), np.uint8), WHOLE, Exposure(0, 0))

    def _prepare(
        self,
        screening: ClaimedScreening,  # noqa: ARG002  # the product's signature
        ignored: Collection[Rejection],  # noqa: ARG002
        refused: ImageRejected | None = None,  # noqa: ARG002
    ) -> Prepared:
        return self._NOTHING


def _load(settings: Settings) -> Classifier:
    return FreeClassifier(read_spec(settings.model_dir))


setattr(process, "load_classifier", _load)  # noqa: B010  # mypy rejects assigning to a module's functions
setattr(process, "Screener", FreeScreener)  # noqa: B010
