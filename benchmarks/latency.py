"""Measure the latency of one image, from the first byte of its upload to a readable result.

`python -m benchmarks.latency`: on an idle stack, then while a bulk job of 5,000 images runs.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks import images
from benchmarks.scratch import new_folder
from benchmarks.stack import Form, Stack, fresh, make_form, make_forms, running

SINGLES: Final = 200
BULK_IMAGES: Final = 5000
MOST_JOBS: Final = 12
FIRST_SECONDS: Final = 0.3
"""Time for a bulk job's first images to reach the workers."""
PAUSE_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 0.003


@dataclass(frozen=True)
class Latency:
    """Seconds that single images took."""

    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """Return the latency in seconds at the percentile `share` (0 to 1)."""
        return float(np.quantile(self.seconds, share, method="higher"))

    def line(self) -> str:
        """Return the usual percentiles as a line."""
        p50, p95, p99 = (1000 * self.percentile(share) for share in (0.50, 0.95, 0.99))
        return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, worst {1000 * max(self.seconds):.0f} ms"


def one(stack: Stack, form: Form) -> float:
    """Send one image as its own job and poll for its result; return the seconds."""
    started = time.perf_counter()
    address = stack.ask("POST", "/api/v1/jobs", form.body, Content_Type=form.media_type)["status_url"]
    while stack.ask("GET", address)["state"] != "FINISHED":
        time.sleep(LOOK_SECONDS)
    return time.perf_counter() - started


def idle(stack: Stack, salt: int, count: int = SINGLES) -> Latency:
    """Send single images one after the other to an idle stack."""
    forms = [make_form([image]) for image in fresh(images.originals(count), salt)]
    one(stack, make_form(fresh(images.originals(1), salt + 1)))
    return Latency(tuple(one(stack, form) for form in forms))


def beside_bulk(stack: Stack, salt: int) -> Latency:
    """Send single images while bulk jobs run, one job after the other; images after the last job do not count."""
    singles = iter([make_form([image]) for image in fresh(images.originals(SINGLES), salt)])
    seconds: list[float] = []
    with ThreadPoolExecutor(1) as pool, closing(Stack(stack.port, stack.token, stack.process)) as other:
        for turn in range(MOST_JOBS):
            bulk = pool.submit(_send_bulk, other, make_forms(fresh(images.small(BULK_IMAGES), salt + 1 + turn)))
            time.sleep(FIRST_SECONDS)
            while not bulk.done() and (form := next(singles, None)) is not None:
                taken = one(stack, form)
                if not bulk.done():
                    seconds.append(taken)
                time.sleep(PAUSE_SECONDS)
            bulk.result()
            if len(seconds) >= SINGLES // 2:
                break
    return Latency(tuple(seconds))


def _send_bulk(stack: Stack, forms: Sequence[Form]) -> None:
    stack.wait(stack.send(forms))


def main() -> None:
    """Measure and print."""
    with running(new_folder()) as stack:
        stack.wait(stack.send(make_forms(fresh(images.small(256), 1))))
        print(f"one image, idle:                {idle(stack, 2).line()}")
        found = beside_bulk(stack, 10)
        print(f"one image beside {BULK_IMAGES:,} others:   {found.line()} (median of {len(found.seconds)} images: "
              f"{1000 * statistics.median(found.seconds):.0f} ms)")  # fmt: skip


if __name__ == "__main__":
    main()
