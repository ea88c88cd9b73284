"""Measure this machine's limit: decoding alone, the network alone, and both in a tight loop on every core.

`python -m benchmarks.floor`. Nothing is stored, queued or written; one single-threaded process a core, as in workers.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import images
from shared.images.preprocess import prepare
from shared.settings import load_settings
from worker.networks.classifier import Classifier
from worker.networks.load import load_model

REPEATS: Final = 5
CORES: Final = os.cpu_count() or 1
BATCH: Final = 64
SETS: Final = {"224 px": partial(images.small, 512), "originals": partial(images.originals, 128)}
RUNTIMES: Final = (("openvino", "bf16"), ("openvino", "f32"), ("tensorflow", "f32"))


@dataclass(frozen=True)
class Floor:
    """Images a second on all cores together."""

    decode: dict[str, float]
    """By set of images."""
    network: dict[str, float]
    """By runtime and precision; the first is the default model as it is served."""
    together: dict[str, float]
    """By set of images: decoding, then the network on the fastest runtime, in a loop in one process per core."""


class _Held:
    """The state of one process of the pool."""

    classifier: Classifier
    batch: np.ndarray
    images: list[bytes]

    @classmethod
    def load(cls, backend: str, precision: str, paths: Sequence[Path]) -> None:
        os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        settings = load_settings()
        cls.classifier = load_model(settings.model_dir, backend, precision, settings.graphs)
        size = cls.classifier.spec.input_size
        cls.batch = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 1), dtype=np.uint8)
        cls.images = [path.read_bytes() for path in paths]

    @classmethod
    def decode(cls, _: int) -> int:
        return len([prepare(image, cls.classifier.spec) for image in cls.images])

    @classmethod
    def predict(cls, _: int) -> int:
        return len(cls.classifier.logits(cls.batch))

    @classmethod
    def screen(cls, _: int) -> int:
        spec = cls.classifier.spec
        for start in range(0, len(cls.images), BATCH):
            pixels = np.stack([prepare(image, spec) for image in cls.images[start : start + BATCH]])
            spec.judge(spec.calibrate(cls.classifier.logits(pixels)))
        return len(cls.images)


def _rate(pool: ProcessPoolExecutor, work: Callable[[int], int]) -> float:
    """Return images a second, the median of REPEATS after one warm-up."""
    return statistics.median([_rate_once(pool, work) for _ in range(REPEATS + 1)][1:])


def _rate_once(pool: ProcessPoolExecutor, work: Callable[[int], int]) -> float:
    started = time.perf_counter()
    done = sum(pool.map(work, range(2 * CORES)))
    return done / (time.perf_counter() - started)


def _pool(backend: str, precision: str, paths: Sequence[Path], processes: int = CORES) -> ProcessPoolExecutor:
    # A network used before a fork hangs in the child, so processes are spawned.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        processes, mp_context=spawn, initializer=_Held.load, initargs=(backend, precision, paths)
    )


@contextmanager
def held_ready(names: Iterable[str] = tuple(SETS), processes: int = CORES) -> Iterator[Callable[[str], float]]:
    """Keep processes warm for each set; yield a function that measures decoding and network of a set once."""
    with ExitStack() as stack:
        pools = {name: stack.enter_context(_pool(*RUNTIMES[0], SETS[name](), processes)) for name in names}
        for pool in pools.values():
            _rate_once(pool, _Held.screen)
        yield lambda name: _rate_once(pools[name], _Held.screen)


def measure() -> Floor:
    """Measure every stage."""
    decode, network, together = {}, {}, {}
    for backend, precision in RUNTIMES:
        with _pool(backend, precision, []) as pool:
            network[f"{backend} {precision}"] = _rate(pool, _Held.predict)
    for name, choose in SETS.items():
        with _pool(*RUNTIMES[0], choose()) as pool:
            decode[name] = _rate(pool, _Held.decode)
            together[name] = _rate(pool, _Held.screen)
    return Floor(decode, network, together)


def show(floor: Floor) -> None:
    """Print a line for each stage."""
    for stage, found in (("decode", floor.decode), ("network", floor.network), ("both", floor.together)):
        for name, value in found.items():
            print(f"{stage:8} {name:16} {value:8,.0f} images/s on {CORES} cores")


if __name__ == "__main__":
    show(measure())
