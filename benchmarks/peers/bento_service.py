"""BentoML with adaptive batching and a worker a core: `bentoml serve benchmarks.peers.bento_service:Classifier`."""

from pathlib import Path

import bentoml

from benchmarks.peers.network import BATCH, Answer, Network

LATENCY_MS = 60_000
"""What a film may wait at most. Above it BentoML answers 503, and a client that saturates it makes films wait."""


@bentoml.service(workers="cpu_count", logging={"access": {"enabled": False}})
class Classifier:
    """The network behind one endpoint."""

    def __init__(self) -> None:
        self.network = Network()
        self.network.warm_up()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=LATENCY_MS)
    def predict(self, films: list[Path]) -> list[Answer]:
        """Classify a batch of films, which BentoML writes to files."""
        return self.network.classify_films([film.read_bytes() for film in films])
