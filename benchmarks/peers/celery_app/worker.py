"""The task; each pool process has its own network, loaded after the fork."""

from celery import signals

from benchmarks.peers.celery_app.broker import TASK, app, images


class Loaded:
    """The network of this process."""

    network = None


@signals.worker_process_init.connect
def load(**_: object) -> None:
    """Load the network in the child: TensorFlow's threads do not survive a fork."""
    from benchmarks.peers.network import Network  # noqa: PLC0415  # imports TensorFlow

    Loaded.network = Network()
    Loaded.network.warm_up()


@app.task(name=TASK)
def classify(image: str) -> dict[str, str | float]:
    """Fetch an image, classify it alone and return the answer."""
    return Loaded.network.classify_images([images.getdel(image)])[0]
