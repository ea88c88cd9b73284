"""Export a trained network to a model folder: weights, spec, figures and card."""

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from evaluation.card import write_card
from evaluation.labelled import read_images
from evaluation.metrics import fit_temperature, measure, report, rounded, threshold_for_sensitivity
from evaluation.plots import write_training_plots
from evaluation.stress import FRAMINGS, stress_images
from shared.images import gate
from shared.images.framing import VERSION, fingerprint
from shared.models.exposures import write_exposure
from shared.models.folder import SPEC_FILE, WEIGHTS_FILE
from shared.models.spec import Framing, ImageClass, ModelSpec
from training.estimates import REFRAMED, show_reframed
from training.evaluate import p_pneumonia, predict_logits
from training.exposure import measure_training
from training.journal import Run, read_journal
from training.recipe import Recipe
from training.recipes import planned_by
from training.registry import with_places
from training.split import Side
from training.style import against_making

METRICS_FILE: Final = "metrics.json"
CARD_FILE: Final = "card.md"
PLOTS: Final = "plots"
UNCHANGED: Final = "none"
"""Name of the held-out images as they are, among their changed copies."""
POPULATION: Final = "Children of 1 to 5 years, one frontal (AP or PA) chest radiograph"
AGES: Final = (1, 5)
TRAINING_DATA: Final = (
    "Kermany et al. 2018, Chest X-Ray Images (Pneumonia), train split, doi 10.17632/rscbjbr9sj.2, CC BY 4.0"
)
SOURCES: Final = {
    "nih/train": (
        "NIH ChestX-ray14 (NIH Clinical Center, Wang et al. 2017, https://nihcc.app.box.com/v/ChestXray-NIHCC), "
        "340 images, labels in part of RSNA 2018 and Google 2019"
    ),
    "hannover/train": "COVID-19 Image Repository, Hannover Medical School, doi 10.25835/0090041, CC BY 3.0",
}
"""Description of each source that recipes name."""
LICENCE: Final = "CC-BY-4.0"


def frame(margin: float) -> Framing:
    """Return the framing of new models: the current localiser and this margin around the lungs."""
    return Framing(version=VERSION, margin=margin, sha256=fingerprint(VERSION))


def draft_spec(recipe: Recipe) -> ModelSpec:
    """Return the spec that a recipe implies before its weights exist: temperature 1, threshold 0.5."""
    return ModelSpec(
        name=recipe.name,
        description=recipe.description,
        input_size=recipe.input_size,
        framing=frame(recipe.framing) if recipe.framing is not None else None,
        gate=gate.default(AGES),
        classes=recipe.classes,
        precision=recipe.precision,
        temperature=1.0,
        threshold=0.5,
        threshold_rule="not chosen yet",
        intended_population=POPULATION,
        training_data="; ".join((TRAINING_DATA, *(SOURCES[name] for name in recipe.elsewhere))),
        licence=LICENCE,
        sha256="0" * 64,
        parameters=1,
        commit="uncommitted",
        trained_at=datetime.now(UTC),
    )


def write_model(network: keras.Model, run: Run, folder: Path, guide: Path) -> Path:
    """Calibrate, choose the threshold, measure, and write the model folder; return its path.

    The folder is written beside the run's checkpoints and moved into place atomically, so that it never mixes weights
    and spec of two trainings. `guide` holds the images that guided the choice of augmentation.
    """
    split, recipe = run.split, run.recipe
    fresh = run.folder / "model"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    with_places(network).save(fresh / WEIGHTS_FILE)
    logits = answer_held_out(network, split.held_out, run.draft)
    spec = fit_spec(run, network, fresh / WEIGHTS_FILE, logits)
    figures = {
        **measure_held_out(logits, spec, split.held_out),
        "guide": measure_guide(network, spec, guide),
        "images": {"training": len(split.seen.images), "held_out": len(split.held_out.images)},
        "recipe": recipe.numbers(),
        "origin": run.origin,
        "journal": read_journal(run.folder),
    }
    (fresh / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    (fresh / METRICS_FILE).write_text(json.dumps(figures, indent=2) + "\n")
    images = (image.path for side in (split.seen, split.held_out) for image in side.images)
    write_exposure(fresh, measure_training(images, spec))
    write_card(fresh / CARD_FILE, spec, figures, planned_by(recipe.network))
    p = spec.p_pneumonia(spec.calibrate(logits[UNCHANGED]))
    write_training_plots(fresh / PLOTS, figures["journal"], split.held_out.truth, p, spec.threshold)
    return _put_in_place(fresh, folder, run.folder / "former-model")


def _put_in_place(fresh: Path, folder: Path, former: Path) -> Path:
    shutil.rmtree(former, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        shutil.move(folder, former)
    shutil.move(fresh, folder)
    return folder


def answer_held_out(network: keras.Model, held_out: Side, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return held-out logits, float32 (images, classes), of the images as they are and under each fixed change.

    One change moves each image's lungs to where another's were, before it is prepared; where lungs are framed it
    replaces the other changes of framing.
    """
    copies = {UNCHANGED: held_out.pixels, **stress_images(held_out.pixels)}
    if spec.framing is not None:
        copies = {name: images for name, images in copies.items() if name not in FRAMINGS}
    copies[REFRAMED] = reframed_or_plain(held_out, spec)
    return {name: predict_logits(network, images) for name, images in copies.items()}


def reframed_or_plain(held_out: Side, spec: ModelSpec) -> np.ndarray:
    """Return the held-out images reframed, or unchanged where no lungs are found afterwards, uint8 like `pixels`."""
    shown = show_reframed(held_out.images, [image.path.name for image in held_out.images], spec)
    pixels = held_out.pixels.copy()
    pixels[list(shown.rows)] = shown.pixels
    return pixels


def fit_spec(run: Run, network: keras.Model, weights: Path, logits: dict[str, np.ndarray]) -> ModelSpec:
    """Fit temperature and threshold on the held-out images and complete the spec.

    Both are fitted on the images and their changed copies together: calibration on in-distribution images leaves every
    network overconfident elsewhere (Ovadia et al. 2019, arXiv:1906.02530).
    """
    recipe, held_out = run.recipe, run.split.held_out
    every = np.concatenate(list(logits.values()))
    temperature = fit_temperature(every, np.tile(held_out.classes(recipe.classes), len(logits)))
    draft = run.draft.model_copy(update={"temperature": temperature})
    p, truth = draft.p_pneumonia(draft.calibrate(every)), np.tile(held_out.truth, len(logits))
    return draft.model_copy(
        update={
            "threshold": threshold_for_sensitivity(truth, p, recipe.sensitivity),
            "threshold_rule": (
                f"Sensitivity first: at least {recipe.sensitivity:.1%} of the held-out pneumonia images and their "
                "changed copies together are called PNEUMONIA, at the highest threshold that does so"
            ),
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "parameters": network.count_params(),
            "commit": current_commit(),
        }
    )


def current_commit() -> str:
    """Return the current commit, with '-dirty' where training differs from it, or 'uncommitted'."""
    head = _git("rev-parse", "--verify", "HEAD")
    if not head:
        return "uncommitted"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", ".", "../shared/images/preprocess.py") else head


def _git(*arguments: str) -> str:
    """Return the output of a git command, empty where it fails or git is missing."""
    if (program := shutil.which("git")) is None:
        return ""
    answer = subprocess.run(  # noqa: S603 - fixed arguments
        [program, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() if answer.returncode == 0 else ""


def measure_guide(network: keras.Model, spec: ModelSpec, folder: Path) -> dict[str, Any] | None:
    """Measure the images that guided the choice of augmentation; None where there are none."""
    if not folder.is_dir():
        return None
    images = read_images(folder, spec)
    return report(images.truth, p_pneumonia(network, spec, images.pixels), spec.threshold)


def measure_held_out(logits: dict[str, np.ndarray], spec: ModelSpec, held_out: Side) -> dict[str, Any]:
    """Measure the held-out images: plain, by series, by cause, with making against class, and under fixed changes.

    `logits` come from `answer_held_out`. The last two estimate performance elsewhere, with intervals.
    """
    truth, groups = held_out.truth, held_out.groups
    p_changed = {name: spec.p_pneumonia(spec.calibrate(found)) for name, found in logits.items()}
    p = p_changed.pop(UNCHANGED)
    called = p >= spec.threshold
    series = np.array([image.series for image in held_out.images])
    against = against_making(truth, held_out.by_making)
    times = len(p_changed)
    return {
        "validation": report(truth, p, spec.threshold, groups),
        "at_threshold_0.5": rounded(measure(truth, p, 0.5)),
        "specificity_by_series": rounded({name: (~called)[series == name].mean() for name in ("IM", "NORMAL2-IM")}),
        "recall_by_cause": rounded({name: called[series == name].mean() for name in ("bacteria", "virus")}),
        "cause_accuracy": cause_accuracy(spec.calibrate(logits[UNCHANGED]), held_out, spec),
        "making_alone_auc": round(float(roc_auc_score(truth, held_out.by_making)), 4),
        "against_making": report(truth[against], p[against], spec.threshold, list(np.array(groups)[against])),
        "changed": report(
            np.tile(truth, times), np.concatenate(list(p_changed.values())), spec.threshold, groups * times
        ),
        "stress": {name: rounded(measure(truth, found, spec.threshold)) for name, found in p_changed.items()},
    }


def cause_accuracy(probabilities: np.ndarray, held_out: Side, spec: ModelSpec) -> float | None:
    """Return how often the likelier cause is right among pneumonia images; None where causes are not distinguished."""
    causes = [index for index, name in enumerate(spec.classes) if name is not ImageClass.NORMAL]
    if len(causes) < 2:
        return None
    named = np.array(causes)[probabilities[:, causes].argmax(axis=1)]
    return round(float((named == held_out.classes(spec.classes))[held_out.truth].mean()), 4)
