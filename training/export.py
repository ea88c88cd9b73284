"""From a trained network to a model folder: weights, spec, figures and card."""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from shared.modelspec import SPEC_FILE, WEIGHTS_FILE, FilmClass, ModelSpec
from training.card import write_card
from training.data import CLASSES, class_indices
from training.evaluate import predict_logits
from training.metrics import fit_temperature, measure, report, rounded, threshold_for_sensitivity
from training.recipe import Recipe
from training.stress import stress_films

if TYPE_CHECKING:
    from training.train import Split

METRICS_FILE: Final = "metrics.json"
CARD_FILE: Final = "card.md"
SENSITIVITY: Final = 0.99

POPULATION: Final = "Children of 1 to 5 years, one frontal (AP or PA) chest radiograph"
TRAINING_DATA: Final = (
    "Kermany et al. 2018, Chest X-Ray Images (Pneumonia), train split, doi 10.17632/rscbjbr9sj.2, CC BY 4.0"
)
LICENCE: Final = "CC-BY-4.0"


def draft_spec(recipe: Recipe) -> ModelSpec:
    """Return the spec that a recipe implies before its weights exist: temperature 1, threshold 0.5."""
    return ModelSpec(
        name=recipe.name,
        description="Compact residual network of plain 3x3 convolutions, trained from random weights",
        input_size=recipe.input_size,
        classes=CLASSES,
        temperature=1.0,
        threshold=0.5,
        threshold_rule="not chosen yet",
        intended_population=POPULATION,
        training_data=TRAINING_DATA,
        licence=LICENCE,
        sha256="0" * 64,
        parameters=1,
        commit="uncommitted",
        trained_at=datetime.now(UTC),
    )


def write_model(
    network: keras.Model, recipe: Recipe, split: "Split", models: Path, journal: Sequence[dict[str, float]]
) -> Path:
    """Calibrate, choose the threshold, measure, and write the model folder; return it."""
    folder = models / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder / WEIGHTS_FILE)
    held = np.flatnonzero(split.held_out)
    logits = predict_logits(network, split.pixels[held])
    spec = _fitted_spec(recipe, network, folder, logits, class_indices([split.films[i] for i in held]))
    figures = measure_held_out(network, spec, split) | {"journal": list(journal), "recipe": recipe.numbers()}
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    (folder / METRICS_FILE).write_text(json.dumps(figures, indent=2) + "\n")
    write_card(folder / CARD_FILE, spec, figures)
    return folder


def _fitted_spec(
    recipe: Recipe, network: keras.Model, folder: Path, logits: np.ndarray, classes: np.ndarray
) -> ModelSpec:
    draft = draft_spec(recipe).model_copy(update={"temperature": fit_temperature(logits, classes)})
    sick = classes != CLASSES.index(FilmClass.NORMAL)
    threshold = threshold_for_sensitivity(sick, draft.p_pneumonia(draft.calibrate(logits)), SENSITIVITY)
    return draft.model_copy(
        update={
            "threshold": threshold,
            "threshold_rule": (
                f"Sensitivity first: the highest threshold at which at least {SENSITIVITY:.0%} of the held-out "
                "pneumonia films are called PNEUMONIA"
            ),
            "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
            "parameters": network.count_params(),
            "commit": current_commit(),
        }
    )


def current_commit() -> str:
    """Return the commit that the code stands at, or 'uncommitted' where there is none."""
    answer = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() if answer.returncode == 0 else "uncommitted"


def measure_held_out(network: keras.Model, spec: ModelSpec, split: "Split") -> dict[str, Any]:
    """Measure the held-out films: plain, by series, by cause, and under fixed changes."""
    held = np.flatnonzero(split.held_out)
    films = [split.films[i] for i in held]
    pixels = split.pixels[held]
    classes = class_indices(films)
    truth = classes != CLASSES.index(FilmClass.NORMAL)
    probabilities = spec.calibrate(predict_logits(network, pixels))
    p = spec.p_pneumonia(probabilities)
    series = np.array([film.series for film in films])
    sick = probabilities[truth][:, 1:].argmax(axis=1) + 1
    return {
        "validation": report(truth, p, spec.threshold, [split.groups[i] for i in held]),
        "at_threshold_0.5": rounded(measure(truth, p, 0.5)),
        "specificity_by_series": {
            name: round(float((p[series == name] < spec.threshold).mean()), 4) for name in ("IM", "NORMAL2-IM")
        },
        "recall_by_cause": {
            name: round(float((p[series == name] >= spec.threshold).mean()), 4) for name in ("bacteria", "virus")
        },
        "cause_accuracy": round(float((sick == classes[truth]).mean()), 4),
        "stress": {
            name: rounded(measure(truth, spec.p_pneumonia(spec.calibrate(predict_logits(network, changed))), spec.threshold))
            for name, changed in stress_films(pixels).items()
        },
        "films": {"training": int((~split.held_out).sum()), "held_out": len(held)},
    }
