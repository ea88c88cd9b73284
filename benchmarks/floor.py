"""What one core can do: decoding alone, and the network alone in several ways.

Run as `python -m benchmarks.floor`.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.films import originals, small
from shared.modelspec import ModelSpec
from shared.preprocess import prepare
from shared.settings import load_settings
from worker.model import load_classifier

REPEATS = 5


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


def measure() -> dict[str, float]:
    """Return films a second on one core for each stage."""
    classifier = load_classifier(load_settings(backend="openvino"))
    spec = classifier.spec
    batch = np.random.default_rng(0).integers(0, 256, (64, spec.input_size, spec.input_size, 1), dtype=np.uint8)
    return {
        "decode, originals": decode_rate(originals(60), spec),
        "decode, 224 px": decode_rate(small(200), spec),
        "network, OpenVINO float32, as served": rate(lambda: classifier.logits(batch), len(batch)),
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:40s} {value:8.0f} films/s on one core")
