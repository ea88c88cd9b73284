"""BentoML with adaptive batching and a worker a core: `bentoml serve benchmarks.peers.bento_service:Classifier`."""

from pathlib import Path

import bentoml

from benchmarks.peers.network import BATCH, Answer, Network

LATENCY_MS = 60_000
"""The longest that an image may wait. Beyond it BentoML answers 503, and a saturating client makes images wait."""


@bentoml.service(workers="cpu_count", logging={"access": {"enabled": False}})
class Classifier:
    """The network behind one endpoint."""

    def __init__(self) -> None:
        self.network = Network()
        self.network.warm_up()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=LATENCY_MS)
    def predict(self, images: list[Path]) -> list[Answer]:
        """Classify a batch of images, which BentoML writes to files."""
        return self.network.classify_images([image.read_bytes() for image in images])
