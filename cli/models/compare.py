"""`pneumoscreen compare`: all models side by side, on one set of images or by their own figures."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from cli.errors import CommandFailed
from cli.models.answering import answer_images, progress_bar
from cli.models.models import MODELS_DIR
from cli.models.table import Row, as_json, markdown_table, notes, read_metrics, screen_table, weigh
from cli.outputs import check_writable, write_file
from cli.report import DISCLAIMER, make_console
from shared.errors import ModelUnavailable
from shared.models.folder import find_model, model_folders, read_spec
from shared.models.metrics import read_metrics as read_all
from shared.models.spec import ModelSpec
from shared.settings import Settings

if TYPE_CHECKING:
    from evaluation.compare import Answered
    from evaluation.labelled import LabelledImages
    from evaluation.labelled import Progress as ReportProgress
    from worker.networks.classifier import Classifier

DEFAULT_MODEL: Final[str] = Settings.model_fields["model"].default
SPEED_IMAGES, SPEED_SECONDS = 100, 5.0
"""On how many images, and for how long at most, a model's speed is measured."""
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--models", "chosen", metavar="NAME,...", help="Compare these only. Default: all in the models folder.")
@click.option("--default", metavar="NAME", help=f"Model to test the others against. Default: {DEFAULT_MODEL}.")
@click.option("--json", "json_file", type=_FILE, help="Write the figures here.")
@click.option("--markdown", "markdown_file", type=_FILE, help="Write the table here as Markdown.")
@MODELS_DIR
def compare(
    *,
    folder: Path | None,
    chosen: str | None,
    default: str | None,
    json_file: Path | None,
    markdown_file: Path | None,
    models_dir: Path,
) -> None:
    """Compare models on the images of DIR, which holds the subfolders NORMAL and PNEUMONIA.

    Figures come with 95 % intervals from the same resamples for every model. McNemar: b images that only the default
    gets right, c images that only this model does, and the probability of such a split by chance. images/s is the
    network alone on one core. A model that cannot be loaded is listed with the reason; the others are compared.

    Without DIR: the validation figures in each model folder, which need no images.
    """
    folders = _choose(models_dir, chosen, default)
    for path in (json_file, markdown_file):
        if path is not None:
            check_writable(path)
    about: dict[str, Any] = {}
    if folder is None:
        rows = [_brought(place) for place in folders]
        title = "Models, with the figures of their validation"
    else:
        rows, about = _measure(folder, folders, default or DEFAULT_MODEL)
        title = f"Models on {about['images']['NORMAL']} normal and {about['images']['PNEUMONIA']} pneumonia images"
    console = make_console()
    console.print(screen_table(rows, title))
    for note in notes(rows):
        console.print(note, markup=False, soft_wrap=True)
    if len({row.images for row in rows if row.images}) > 1:
        console.print("These models were validated on different images: their figures do not compare one to one.")
    if about.get("refused"):
        console.print(f"{len(about['refused'])} files get no label and were left out.")
    console.print(DISCLAIMER)
    _write(json_file, json.dumps({**about, "models": as_json(rows)}, indent=2) + "\n")
    _write(markdown_file, markdown_table(rows))


def _choose(models_dir: Path, chosen: str | None, default: str | None) -> list[Path]:
    """Return the folders to compare, the reference model's first; raise ModelUnavailable for an unknown name."""
    there = model_folders(models_dir)
    if not there:
        raise CommandFailed(f"There is no model in {models_dir}. Train one with 'pneumoscreen train'.")
    first = [find_model(models_dir, default)] if default else [place for place in there if place.name == DEFAULT_MODEL]
    wanted = there if chosen is None else [find_model(models_dir, name.strip()) for name in chosen.split(",")]
    return first + sorted({*wanted} - {*first})


def _write(path: Path | None, content: str) -> None:
    if path is not None:
        write_file(path, content)
        click.echo(f"Written to {path}.")


def _brought(folder: Path) -> Row:
    """Return a model's row from its own metrics.json."""
    try:
        spec, figures = read_spec(folder), read_metrics(folder)
        size = weigh(folder, spec)
    except ModelUnavailable as error:
        return Row(folder.name, note=str(error))
    notes = ["its weights are not included"] if size is None else []
    if figures is None:
        return Row(folder.name, None, None, size, spec.parameters, note="; ".join([*notes, "not validated yet"]))
    if figures["threshold"] != spec.threshold:
        notes.append(f"figures at threshold {figures['threshold']:.4f}, calibrated since to {spec.threshold:.4f}")
    images = sum(figures["images"].values())
    estimates = read_all(folder).get("estimates")
    return Row(folder.name, images, figures, size, spec.parameters, note="; ".join(notes), estimates=estimates or None)


def _measure(folder: Path, folders: list[Path], default: str) -> tuple[list[Row], dict[str, Any]]:
    """Run every model on the images; return a row for each, and a description of the run."""
    from evaluation.labelled import class_folders

    class_folders(folder)
    os.environ["KERAS_BACKEND"] = "openvino"
    from evaluation.compare import compare_models

    images = _ImagesByWay(folder)
    rows: dict[str, Row] = {}
    answered: dict[str, Answered] = {}
    with progress_bar() as report_progress:
        for place in folders:
            try:
                rows[place.name], answered[place.name] = _run(place, images, report_progress)
            except ModelUnavailable as error:
                rows[place.name] = Row(place.name, note=str(error))
        if images.first is None:
            raise CommandFailed(f"No model can be loaded. {next(iter(rows.values())).note}")
        report_progress("Drawing intervals", 0, 1)
        figures = compare_models(images.first.truth, answered, default, images.first.groups)
    truth = images.first.truth
    about = {
        "folder": str(folder),
        "default": default,
        "images": {"NORMAL": int((~truth).sum()), "PNEUMONIA": int(truth.sum())},
        "refused": images.first.refused,
    }
    return [replace(row, figures=figures.get(name)) for name, row in rows.items()], about


class _ImagesByWay:
    """The images of a folder, read once for each way in which models prepare them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[tuple[object, ...], LabelledImages] = {}
        self.first: LabelledImages | None = None

    def at(self, spec: ModelSpec, report_progress: "ReportProgress") -> "LabelledImages":
        """Return the images as a model's network sees them.

        Raises ModelUnavailable where they are not the images that the first model saw.
        """
        from evaluation.labelled import read_images

        way = (spec.input_size, spec.resize, repr(spec.framing), repr(spec.gate))
        if way not in self._read:
            self._read[way] = read_images(self._folder, spec, report_progress)
        found = self._read[way]
        self.first = self.first or found
        if found.names != self.first.names:
            raise ModelUnavailable(
                f"Model '{spec.name}': at {spec.input_size} pixels {len(found.names)} images get a label, and not the "
                f"same as the {len(self.first.names)} of the first. Take files without a label out of the folder."
            )
        return found


def _run(folder: Path, images: _ImagesByWay, report_progress: "ReportProgress") -> tuple[Row, "Answered"]:
    """Load a model as a worker does, screen the images and time it."""
    from evaluation.compare import Answered
    from worker.networks.load import load_model

    report_progress(f"Loading {folder.name}", 0, 1)
    classifier = load_model(folder, "openvino")
    spec, labelled = classifier.spec, images.at(classifier.spec, report_progress)
    p = spec.p_pneumonia(spec.calibrate(answer_images(classifier, labelled.pixels, report_progress)))
    speed = round(_images_per_second(classifier, labelled.pixels), 1)
    row = Row(folder.name, len(p), None, weigh(folder, spec), spec.parameters, speed)
    return row, Answered(p, spec.threshold)


def _images_per_second(classifier: "Classifier", pixels: np.ndarray) -> float:
    """Return how fast one thread screens single images, with the network warmed up."""
    started, done = time.perf_counter(), 0
    while done < min(SPEED_IMAGES, len(pixels)) and time.perf_counter() - started < SPEED_SECONDS:
        classifier.answer(pixels[done : done + 1])
        done += 1
    return done / (time.perf_counter() - started)
