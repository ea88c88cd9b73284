"""From a trained network to a model folder: weights, spec, figures and card."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from shared.modelspec import SPEC_FILE, WEIGHTS_FILE, FilmClass, ModelSpec
from training.card import write_card
from training.data import CLASSES
from training.evaluate import p_pneumonia, predict_logits, read_films
from training.metrics import fit_temperature, measure, report, rounded, threshold_for_sensitivity
from training.recipe import Recipe
from training.split import Side, Split
from training.stress import stress_films
from training.style import against_making, learn_making

METRICS_FILE: Final = "metrics.json"
CARD_FILE: Final = "card.md"
SENSITIVITY: Final = 0.99
"""What the threshold must reach on the held-out films; a missed pneumonia costs more than a second look."""

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
    network: keras.Model,
    recipe: Recipe,
    split: Split,
    *,
    run: Path,
    folder: Path,
    journal: Sequence[dict[str, float]],
    guide: Path,
) -> Path:
    """Calibrate, choose the threshold, measure, and write the model folder; return it.

    The folder is written in `run` and moved into place whole, so that nobody meets weights and spec of two trainings.
    """
    fresh = run / "model"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    network.save(fresh / WEIGHTS_FILE)
    spec = fit_spec(recipe, network, fresh / WEIGHTS_FILE, split.held_out)
    figures = {
        **measure_held_out(network, spec, split),
        "guide": measure_guide(network, spec, guide),
        "films": {"training": len(split.seen.films), "held_out": len(split.held_out.films)},
        "recipe": recipe.numbers(),
        "journal": list(journal),
    }
    (fresh / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    (fresh / METRICS_FILE).write_text(json.dumps(figures, indent=2) + "\n")
    write_card(fresh / CARD_FILE, spec, figures)
    return _put_in_place(fresh, folder, run / "former-model")


def _put_in_place(fresh: Path, folder: Path, former: Path) -> Path:
    shutil.rmtree(former, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        shutil.move(folder, former)
    shutil.move(fresh, folder)
    return folder


def fit_spec(recipe: Recipe, network: keras.Model, weights: Path, held_out: Side) -> ModelSpec:
    """Fit temperature and threshold on the held-out films and complete the spec."""
    logits = predict_logits(network, held_out.pixels)
    draft = draft_spec(recipe).model_copy(update={"temperature": fit_temperature(logits, held_out.classes)})
    p = draft.p_pneumonia(draft.calibrate(logits))
    return draft.model_copy(
        update={
            "threshold": threshold_for_sensitivity(held_out.truth, p, SENSITIVITY),
            "threshold_rule": (
                f"Sensitivity first: the highest threshold at which at least {SENSITIVITY:.0%} of the held-out "
                "pneumonia films are called PNEUMONIA"
            ),
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "parameters": network.count_params(),
            "commit": current_commit(),
        }
    )


def current_commit() -> str:
    """Return the commit that the code stands at, with '-dirty' where training differs from it, or 'uncommitted'."""
    head = _git("rev-parse", "--verify", "HEAD")
    if not head:
        return "uncommitted"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", ".", "../shared/preprocess.py") else head


def _git(*arguments: str) -> str:
    """Return what a git command prints, nothing where it fails or there is no git."""
    if (program := shutil.which("git")) is None:
        return ""
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        [program, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def measure_guide(network: keras.Model, spec: ModelSpec, folder: Path) -> dict[str, Any] | None:
    """Measure the films that guided the choice of augmentation; None where they are not there."""
    if not folder.is_dir():
        return None
    films = read_films(folder, spec)
    return report(films.truth, p_pneumonia(network, spec, films.pixels), spec.threshold)


def measure_held_out(network: keras.Model, spec: ModelSpec, split: Split) -> dict[str, Any]:
    """Measure the held-out films: plain, by series, by cause, against their making, and under fixed changes."""
    held_out = split.held_out
    truth = held_out.truth
    probabilities = spec.calibrate(predict_logits(network, held_out.pixels))
    p = spec.p_pneumonia(probabilities)
    called = p >= spec.threshold
    series = np.array([film.series for film in held_out.films])
    causes = [index for index, name in enumerate(spec.classes) if name is not FilmClass.NORMAL]
    named = np.array(causes)[probabilities[:, causes].argmax(axis=1)]
    by_making = learn_making(split.seen.pixels, split.seen.truth, held_out.pixels)
    against = against_making(truth, by_making)
    return {
        "validation": report(truth, p, spec.threshold, held_out.groups),
        "at_threshold_0.5": rounded(measure(truth, p, 0.5)),
        "specificity_by_series": rounded({name: (~called)[series == name].mean() for name in ("IM", "NORMAL2-IM")}),
        "recall_by_cause": rounded({name: called[series == name].mean() for name in ("bacteria", "virus")}),
        "cause_accuracy": round(float((named == held_out.classes)[truth].mean()), 4),
        "making_alone_auc": round(float(roc_auc_score(truth, by_making)), 4),
        "against_making": {
            "films": {"NORMAL": int((against & ~truth).sum()), "PNEUMONIA": int((against & truth).sum())},
            **rounded(measure(truth[against], p[against], spec.threshold)),
        },
        "stress": {
            name: rounded(measure(truth, p_pneumonia(network, spec, changed), spec.threshold))
            for name, changed in stress_films(held_out.pixels).items()
        },
    }
