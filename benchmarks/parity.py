"""Compare a model's backends and precisions, image by image.

    python -m benchmarks.parity [MODEL]

The Keras file on TensorFlow in float32 is the reference; OpenVINO in float32 and OpenVINO as it serves (bfloat16 where
the spec allows it and the CPU has it) are compared with it on 300 images. Then the same images are screened at their
original size and at 224 pixels, as served.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.images import DATA, originals
from shared.images.preprocess import prepare
from shared.models.folder import read_spec

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / "models" / "whole-mobilenet"
IMAGES = 300
Run = tuple[str | None, Sequence[Path]]
"""OpenVINO's precision, None for that of the spec, and the images."""


@dataclass(frozen=True)
class Agreement:
    """How far two ways of screening images agree."""

    images: int
    largest: float
    """Largest difference in p_pneumonia."""
    within_a_tenth: float
    """Share of images whose p_pneumonia differs by at most 0.1."""
    within_a_twentieth: float
    same_label: float
    """Share of images with the same label."""


def agreement(one: np.ndarray, other: np.ndarray, threshold: float) -> Agreement:
    """Compare two arrays of p_pneumonia, (images,), at a threshold."""
    gap = np.abs(one - other)
    same = (one >= threshold) == (other >= threshold)
    return Agreement(
        len(one), float(gap.max()), float((gap <= 0.1).mean()), float((gap <= 0.05).mean()), float(same.mean())
    )


def screen(model: Path, backend: str, runs: Sequence[Run]) -> list[np.ndarray]:
    """Return p_pneumonia, (images,), of each run, in a separate process: Keras allows one backend per process."""
    command = [sys.executable, "-m", "benchmarks.parity", "--screen", str(model), backend]
    asked = json.dumps([(precision, list(map(str, images))) for precision, images in runs])
    finished = subprocess.run(command, cwd=ROOT, input=asked, capture_output=True, text=True, check=True)
    return [np.array(found) for found in json.loads(finished.stdout)]


def _screen_here(model: Path, backend: str, asked: list[tuple[str | None, list[str]]]) -> Iterator[list[float]]:
    from worker.networks.load import load_model  # noqa: PLC0415  # imports Keras, whose backend was just chosen

    for precision, images in asked:
        classifier = load_model(model, backend, precision)
        spec = classifier.spec
        pixels = np.stack([prepare(Path(image).read_bytes(), spec) for image in images])
        yield [float(p) for p in spec.p_pneumonia(spec.calibrate(classifier.logits(pixels)))]


def compare_forms(model: Path) -> dict[str, Agreement]:
    """Compare every backend of a model with TensorFlow in float32, and small copies of images with their originals."""
    large = originals(IMAGES)
    small = [DATA / "chest_xray" / "train" / image.parent.name / image.name for image in large]
    (reference,) = screen(model, "tensorflow", [("f32", large)])
    single, served, copies = screen(model, "openvino", [("f32", large), (None, large), (None, small)])
    threshold = read_spec(model).threshold
    return {
        "openvino f32": agreement(reference, single, threshold),
        "openvino, as served": agreement(reference, served, threshold),
        "224 px against original size": agreement(served, copies, threshold),
    }


def main(model: Path) -> None:
    """Print both comparisons."""
    print(f"{read_spec(model).version}, {IMAGES} images")
    for name, found in compare_forms(model).items():
        print(
            f"  {name:30} largest difference {found.largest:.4f}   within 0.1 {found.within_a_tenth:.1%}   "
            f"within 0.05 {found.within_a_twentieth:.1%}   same label {found.same_label:.1%}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--screen"]:
        sys.stdout.write(json.dumps(list(_screen_here(Path(sys.argv[2]), sys.argv[3], json.load(sys.stdin)))))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
