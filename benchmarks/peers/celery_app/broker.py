"""The Celery app and the image storage that front end and workers share, both in one Redis."""

import os

from celery import Celery
from redis import Redis

SOCKET = os.environ["PEER_REDIS_SOCKET"]
KEPT_SECONDS = 600
TASK = "classify"

app = Celery(
    "peer",
    broker=f"redis+socket://{SOCKET}",
    backend=f"redis+socket://{SOCKET}",
    include=["benchmarks.peers.celery_app.worker"],
)
app.conf.update(
    result_expires=KEPT_SECONDS,
    # By default a pool process has four seconds to start, and TensorFlow takes longer to load.
    worker_proc_alive_timeout=120,
    broker_connection_retry_on_startup=True,
)
# A message names its image, which is stored beside the queue: messages should be small.
images = Redis(unix_socket_path=SOCKET)
