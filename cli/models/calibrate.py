"""`pneumoscreen calibrate`: fit probabilities and threshold to a site's own labelled images."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from cli.models.answering import answer_images, progress_bar
from cli.models.compare import DEFAULT_MODEL
from cli.models.models import MODELS_DIR
from cli.models.reviewed import REVIEWED, SOURCE, Reviewed, check_source, read_reviews
from cli.models.rewriting import NUMBERS, attempt, check_keeping, keep, keeping_options, undo_last
from cli.options import DATA_DIR, NumberWithin
from cli.report import DISCLAIMER, make_console
from shared.models.folder import find_model
from shared.models.spec import ModelSpec

if TYPE_CHECKING:
    from evaluation.labelled import LabelledImages
    from evaluation.labelled import Progress as ReportProgress

_FIGURES: Final = (
    ("recall", "Recall (sensitivity)"),
    ("specificity", "Specificity"),
    ("accuracy", "Accuracy"),
    ("ece", "Calibration error (ECE)"),
    ("auc", "AUC"),
)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@REVIEWED
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of a folder in the models folder.")
@click.option(
    "--sensitivity",
    type=NumberWithin(0.5, 1.0),
    default=0.99,
    show_default=True,
    help="Share of the pneumonia images that must be found.",
)
@keeping_options
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here.")
@MODELS_DIR
@DATA_DIR
def calibrate(*, folder: Path | None, reviewed: bool, model: str, models_dir: Path, undo: bool, **options: Any) -> None:
    """Fit a model's probabilities and threshold to the images of DIR, or to this site's own reviews, without training.

    DIR holds the subfolders NORMAL and PNEUMONIA with at least 30 images each, copies counted once, in the proportion
    in which pneumonia occurs at the site: the probabilities adopt that proportion. The weights do not change, and the
    former calibration is kept in the spec. Images screened before keep their labels. With --reviewed the labels are
    those that readers gave to X-rays here; the probabilities then adopt the share of pneumonia among them.
    """
    place = find_model(models_dir, model)
    if undo:
        undo_last(place, dry_run=options["dry_run"], has_images=folder is not None or reviewed, out=options["out"])
    elif folder is None and not reviewed:
        raise click.UsageError("Name the folder of labelled images, or say --reviewed or --undo.")
    else:
        check_source(folder, reviewed=reviewed)
        _calibrate(folder, place, **options)


def _calibrate(
    folder: Path | None,
    place: Path,
    *,
    sensitivity: float,
    out: Path | None,
    in_place: bool,
    dry_run: bool,
    json_file: Path | None,
    data_dir: Path | None,
) -> None:
    check_keeping(place, out=out, in_place=in_place)
    from evaluation.dataset import refuse_test_split
    from evaluation.labelled import class_folders

    if folder is not None:
        refuse_test_split(folder)
        class_folders(folder)
    os.environ["KERAS_BACKEND"] = "openvino"
    from evaluation.calibrate import first_of_each, recalibrate

    with progress_bar() as report_progress:
        spec, images, logits, reviewed = _answer(folder, data_dir, place, report_progress)
        name = folder.resolve().name if folder is not None else SOURCE
        own = first_of_each(images.digests)
        fresh = recalibrate(spec, logits[own], images.truth[own], sensitivity, name)
        report_progress("Drawing intervals", 0, 1)
        report = _report(spec, fresh, images, logits)
    if reviewed is not None:
        report["reviewed"] = reviewed.counts
        make_console().print(reviewed.said, soft_wrap=True)
    _show(report, make_console())
    if json_file is not None:
        attempt(lambda: json_file.write_text(json.dumps(report, indent=2) + "\n"), json_file)
        click.echo(f"Figures written to {json_file}.")
    keep(place, fresh, out=out, in_place=in_place, dry_run=dry_run)


def _answer(
    folder: Path | None, data_dir: Path | None, place: Path, report_progress: "ReportProgress"
) -> tuple[ModelSpec, "LabelledImages", Any, Reviewed | None]:
    """Return a model's spec, the images, and the model's logits for them; too few images are refused first.

    Without a folder the images are those reviewed at this site, and the last value describes them.
    """
    from evaluation.calibrate import check_contents
    from evaluation.labelled import read_images
    from worker.networks.load import load_model

    classifier = load_model(place, "openvino")
    reviewed = None
    if folder is not None:
        images = read_images(folder, classifier.spec, report_progress)
    else:
        reviewed = read_reviews(data_dir, classifier.spec, "calibrate", report_progress)
        images = reviewed.images
    check_contents(images)
    return classifier.spec, images, answer_images(classifier, images.pixels, report_progress), reviewed


def _report(spec: ModelSpec, fresh: ModelSpec, images: "LabelledImages", logits: Any) -> dict[str, Any]:
    from evaluation.calibrate import first_of_each
    from evaluation.metrics import report

    own = first_of_each(images.digests)
    truth, groups = images.truth[own], [images.groups[place] for place in own]
    return {
        "model": spec.version,
        "refused": images.refused,
        "copies_left_out": len(images.truth) - len(own),
        **{
            name: {
                **{number: getattr(one, number) for number in NUMBERS},
                **report(truth, one.p_pneumonia(one.calibrate(logits[own])), one.threshold, groups),
            }
            for name, one in (("before", spec), ("after", fresh))
        },
    }


def _show(report: dict[str, Any], console: Console) -> None:
    before, after = report["before"], report["after"]
    images = before["images"]
    table = Table(title=f"{report['model']} on {images['NORMAL']} normal and {images['PNEUMONIA']} pneumonia images")
    table.add_column("figure (95 % interval)")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for number in NUMBERS:
        table.add_row(number, f"{before[number]:.4f}", f"{after[number]:.4f}")
    for key, title in _FIGURES:
        table.add_row(title, *(_span(one[key], one["intervals_95"][key]) for one in (before, after)))
    console.print(table)
    share = images["PNEUMONIA"] / (images["NORMAL"] + images["PNEUMONIA"])
    console.print(
        f"Fitted on these same images, so the right column is slightly better than on other images. Its probabilities "
        f"hold where about {share:.0%} of the images show pneumonia, as here.",
        soft_wrap=True,
    )
    if report["copies_left_out"]:
        console.print(f"{report['copies_left_out']:,} files are copies of others and were left out.")
    if report["refused"]:
        console.print(f"{len(report['refused'])} files get no label and were left out.")
    console.print(DISCLAIMER)


def _span(value: float, bounds: list[float]) -> str:
    return f"{value:.4f} ({bounds[0]:.4f} to {bounds[1]:.4f})"
