"""LitServe with batching and a worker a core: `python -m benchmarks.peers.litserve_app PORT`."""

import sys
from collections.abc import Sequence

import litserve
import numpy as np
from fastapi import Request

from benchmarks.peers.network import BATCH, CORES, WAIT_SECONDS, Answer, Network


class Classifier(litserve.LitAPI):
    """The network behind LitServe's hooks, which all run in the worker."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # the hook's signature
        """Load the network."""
        self.network = Network()
        self.network.warm_up()

    def decode_request(self, request: Request) -> np.ndarray:
        """Decode the image of a form; the annotation makes LitServe parse the form and pass its fields."""
        return self.network.decode(request["file"].file.read())

    def batch(self, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Return the batch as a list."""
        return inputs

    def predict(self, inputs: Sequence[np.ndarray]) -> list[Answer]:
        """Classify a batch."""
        return self.network.classify(inputs)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """Return the answers as a list."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """Return the answer unchanged."""
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=CORES, timeout=False, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
