"""How far the forms of a model agree, film by film.

    python -m benchmarks.parity [MODEL]

The Keras file on TensorFlow in float32 is the reference; OpenVINO in float32 and OpenVINO as it serves (bfloat16 where
the spec allows it and the CPU has it) are held to it on 300 films. Then the same films at their original size and at
224 pixels are screened as it serves.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.films import DATA, originals
from shared.modelfolder import read_spec
from shared.preprocess import prepare

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / "models" / "compact-cnn"
FILMS = 300
FORMS = ("tensorflow f32", "openvino f32", "openvino")


@dataclass(frozen=True)
class Agreement:
    """How far one way of screening films agrees with another."""

    films: int
    largest: float
    """Largest difference in p_pneumonia."""
    within_a_tenth: float
    """Share of films whose p_pneumonia differs by at most 0.1."""
    same_label: float
    """Share of films with the same label."""


def agreement(one: np.ndarray, other: np.ndarray, threshold: float) -> Agreement:
    """Compare two arrays of p_pneumonia, (films,), at a threshold."""
    gap = np.abs(one - other)
    same = (one >= threshold) == (other >= threshold)
    return Agreement(len(one), float(gap.max()), float((gap <= 0.1).mean()), float(same.mean()))


def screen(model: Path, form: str, films: list[Path]) -> np.ndarray:
    """Return p_pneumonia, (films,), in a process of its own: Keras takes one backend per process."""
    command = [sys.executable, "-m", "benchmarks.parity", "--screen", str(model), form]
    listed = "\n".join(map(str, films))
    finished = subprocess.run(command, cwd=ROOT, input=listed, capture_output=True, text=True, check=True)
    return np.array(json.loads(finished.stdout))


def _screen_here(model: Path, form: str, films: list[str]) -> list[float]:
    from worker.model import load_model  # noqa: PLC0415  # imports Keras, whose backend the form decides

    backend, _, precision = form.partition(" ")
    classifier = load_model(model, backend, precision or None)
    spec = classifier.spec
    pixels = np.stack([prepare(Path(film).read_bytes(), spec) for film in films])
    return [float(p) for p in spec.p_pneumonia(spec.calibrate(classifier.logits(pixels)))]


def forms_agree(model: Path) -> dict[str, Agreement]:
    """Hold every form of a model to TensorFlow in float32."""
    films, threshold = originals(FILMS), read_spec(model).threshold
    reference, *others = (screen(model, form, films) for form in FORMS)
    return {form: agreement(reference, found, threshold) for form, found in zip(FORMS[1:], others, strict=True)}


def sizes_agree(model: Path) -> Agreement:
    """Compare the same films at their original size and at 224 pixels, as the model serves."""
    large = originals(FILMS)
    small = [DATA / "chest_xray" / "train" / film.parent.name / film.name for film in large]
    one, other = screen(model, FORMS[-1], large), screen(model, FORMS[-1], small)
    return agreement(one, other, read_spec(model).threshold)


def main(model: Path) -> None:
    """Print both comparisons."""
    print(f"{read_spec(model).version}, {FILMS} films")
    rows = {**forms_agree(model), "224 px against original size": sizes_agree(model)}
    for name, found in rows.items():
        print(
            f"  {name:30} largest difference {found.largest:.4f}   within 0.1 {found.within_a_tenth:.1%}   "
            f"same label {found.same_label:.1%}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--screen"]:
        sys.stdout.write(json.dumps(_screen_here(Path(sys.argv[2]), sys.argv[3], sys.stdin.read().splitlines())))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
