"""`pneumoscreen evaluate`: a model's figures on a folder of images with known labels."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.models.answering import answer_images, progress_bar
from cli.models.compare import DEFAULT_MODEL
from cli.models.figures import show_figures
from cli.models.models import MODELS_DIR
from cli.models.reviewed import REVIEWED, SOURCE, check_source, read_reviews
from cli.options import DATA_DIR, NumberWithin
from cli.outputs import check_writable, write_file
from cli.report import make_console
from shared.models.folder import find_model

if TYPE_CHECKING:
    from evaluation.assessment import Assessment
    from evaluation.labelled import LabelledImages, Progress
    from worker.networks.classifier import Classifier

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@REVIEWED
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of a folder in the models folder.")
@click.option("--json", "json_file", metavar="FILE", type=_FILE, help="Write all figures here.")
@click.option(
    "--report",
    "report_file",
    metavar="FILE.html",
    type=_FILE,
    help="Write a page with plots and the worst errors here. It holds images and file names.",
)
@click.option(
    "--prevalence",
    "prevalences",
    metavar="P",
    multiple=True,
    type=NumberWithin(0, 1, min_open=True, max_open=True),
    help="Share of pneumonia, 0 to 1, that PPV and NPV are stated at. May be repeated. Default: that of the images.",
)
@MODELS_DIR
@click.option(
    "--backend",
    type=click.Choice(["openvino", "tensorflow"]),
    default="openvino",
    show_default=True,
    help="What computes the network.",
)
@DATA_DIR
def evaluate(
    *,
    folder: Path | None,
    reviewed: bool,
    model: str,
    json_file: Path | None,
    report_file: Path | None,
    prevalences: tuple[float, ...],
    models_dir: Path,
    backend: str,
    data_dir: Path | None,
) -> None:
    """Measure a model on DIR, which holds the subfolders NORMAL and PNEUMONIA, or on this site's own reviews.

    Unreadable files are listed and left out of the figures. With --reviewed the labels are those that readers gave: the
    X-rays are read from the image store and screened again; those that readers call technically inadequate, give
    another finding or disagree about are left out and counted.
    """
    check_source(folder, reviewed=reviewed)
    place = find_model(models_dir, model)
    for path in (json_file, report_file):
        if path is not None:
            check_writable(path)
    from evaluation.labelled import class_folders

    if folder is not None:
        class_folders(folder)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import evaluation.report as page
    from evaluation.operating_points import operating_points, short_thresholds

    journal = page.read_training(place) if report_file else []
    with progress_bar() as report_progress:
        if folder is not None:
            found, said = assess_folder(folder, place, backend, prevalences, report_progress), None
        else:
            found, said = _assess_reviewed(data_dir, place, backend, prevalences, report_progress)
        # Files first: they must be written even if the reader of the tables closes the pipe, as `head` does.
        if json_file is not None:
            write_file(json_file, json.dumps(found.figures, indent=2) + "\n")
        if report_file is not None:
            report_progress("Drawing the report", 0, 1)
            write_file(report_file, page.report_page(found, journal))
    stated = found.figures["operating_points"]["prevalences"]
    thresholds = short_thresholds(found.spec.threshold)
    points = operating_points(found.images.truth, found.p_pneumonia, thresholds, stated)
    console = make_console()
    if said is not None:
        console.print(said, soft_wrap=True)
    show_figures(found.figures, points, console)
    if json_file is not None:
        click.echo(f"Figures written to {json_file}.")
    if report_file is not None:
        click.echo(
            f"Report written to {report_file}. It holds images and file names: keep it where you keep the images."
        )


def assess_folder(
    folder: Path, model: Path, backend: str, prevalences: Sequence[float], report_progress: "Progress"
) -> "Assessment":
    """Screen the images of a folder as a worker would and measure the answers.

    Raises DataUnusable or ModelUnavailable, each saying what to do.
    """
    from evaluation.labelled import read_images

    classifier = _load(model, backend, report_progress)
    images = read_images(folder, classifier.spec, report_progress)
    return _assess(
        classifier, images, str(folder), backend=backend, prevalences=prevalences, report_progress=report_progress
    )


def _assess_reviewed(
    data_dir: Path | None, model: Path, backend: str, prevalences: Sequence[float], report_progress: "Progress"
) -> tuple["Assessment", str]:
    """Measure a model on the reviews of this site; return the figures, and a description of their labels."""
    classifier = _load(model, backend, report_progress)
    reviewed = read_reviews(data_dir, classifier.spec, "evaluate", report_progress)
    found = _assess(
        classifier, reviewed.images, SOURCE, backend=backend, prevalences=prevalences, report_progress=report_progress
    )
    found.figures["reviewed"] = reviewed.counts
    return found, reviewed.said


def _load(model: Path, backend: str, report_progress: "Progress") -> "Classifier":
    from worker.networks.load import load_model

    report_progress(f"Loading {model.name}", 0, 1)
    return load_model(model, backend)


def _assess(
    classifier: "Classifier",
    images: "LabelledImages",
    source: str,
    *,
    backend: str,
    prevalences: Sequence[float],
    report_progress: "Progress",
) -> "Assessment":
    from evaluation.assessment import assess

    spec = classifier.spec
    p = spec.p_pneumonia(spec.calibrate(answer_images(classifier, images.pixels, report_progress)))
    report_progress("Drawing intervals", 0, 1)
    return assess(spec, images, p, folder=source, backend=backend, prevalences=prevalences)
