"""Run a served model on a folder of labelled images, for `compare` and `calibrate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from evaluation.labelled import Progress as ReportProgress
    from worker.networks.classifier import Classifier

BATCH: Final = 32


@contextmanager
def progress_bar() -> Iterator["ReportProgress"]:
    """Show progress on standard error; nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def answer_images(classifier: "Classifier", pixels: np.ndarray, report_progress: "ReportProgress") -> np.ndarray:
    """Return the logits, float32 (images, classes), of uint8 images (images, size, size, 1)."""
    parts: list[np.ndarray] = []
    for start in range(0, len(pixels), BATCH):
        parts.append(classifier.answer(pixels[start : start + BATCH]).logits)
        report_progress(f"Screening with {classifier.spec.name}", min(start + BATCH, len(pixels)), len(pixels))
    return np.concatenate(parts)
