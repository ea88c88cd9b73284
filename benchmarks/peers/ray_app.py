"""Ray Serve with request batching and a replica a core: `python -m benchmarks.peers.ray_app PORT`."""

import asyncio
import signal
import sys

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

from benchmarks.peers.network import BATCH, CORES, WAIT_SECONDS, Answer, Network

HOST = "127.0.0.1"


@serve.deployment(num_replicas=CORES, max_ongoing_requests=4 * BATCH, ray_actor_options={"num_cpus": 1})
class Classifier:
    """The network behind one endpoint."""

    def __init__(self) -> None:
        self.network = Network()
        self.network.warm_up()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def classify(self, images: list[bytes]) -> list[Answer]:
        """Classify a batch in a thread, so that the event loop can accept requests."""
        return await asyncio.to_thread(self.network.classify_images, images)

    async def __call__(self, request: Request) -> Answer:
        """Classify the image that is the body."""
        return await self.classify(await request.body())


def main(port: int) -> None:
    """Serve until a signal comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(num_cpus=CORES, include_dashboard=False, _node_ip_address=HOST)
    serve.start(http_options=HTTPOptions(host=HOST, port=port), logging_config=LoggingConfig(enable_access_log=False))
    serve.run(Classifier.bind(), route_prefix="/predict")
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
