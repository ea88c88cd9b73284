"""What one core can do, decoding alone and the network alone, and what the network does on every core at once.

Run as `python -m benchmarks.floor`.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.films import originals, small
from shared.modelspec import ModelSpec
from shared.preprocess import prepare
from shared.settings import load_settings
from worker.classifier import Classifier
from worker.model import load_classifier

REPEATS = 5
CORES = os.cpu_count() or 1
BATCH = 64


def rate(work: Callable[[], object], films: int) -> float:
    """Return films a second, the median of REPEATS after one that is not counted."""
    work()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return films / statistics.median(seconds)


def decode_rate(paths: list[Path], spec: ModelSpec) -> float:
    """Measure `prepare`, reading from memory."""
    films = [path.read_bytes() for path in paths]
    return rate(lambda: [prepare(film, spec) for film in films], len(films))


class Network:
    """The network of the settings in this process, as a worker holds it."""

    classifier: Classifier
    batch: np.ndarray

    @classmethod
    def load(cls) -> None:
        """Load it and make a batch of noise for it."""
        cls.classifier = load_classifier(load_settings(backend="openvino"))
        size = cls.classifier.spec.input_size
        cls.batch = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 1), dtype=np.uint8)

    @classmethod
    def screen(cls, _: int = 0) -> int:
        """Screen the batch and return how many films it holds."""
        return len(cls.classifier.logits(cls.batch))


def rate_on_every_core(batches: int = 16) -> float:
    """Return films a second of one process a core, all at once, as workers run; the first round is not counted."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=spawn, initializer=Network.load) as pool:
        list(pool.map(Network.screen, range(CORES * batches)))
        return rate(lambda: list(pool.map(Network.screen, range(CORES * batches))), CORES * batches * BATCH)


def measure() -> dict[str, float]:
    """Return films a second for each stage."""
    Network.load()
    spec = Network.classifier.spec
    return {
        "decode, originals, one core": decode_rate(originals(60), spec),
        "decode, 224 px, one core": decode_rate(small(200), spec),
        f"network as served ({spec.precision}), one core": rate(Network.screen, BATCH),
        f"network as served ({spec.precision}), {CORES} cores": rate_on_every_core(),
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:42s} {value:8.0f} films/s")
