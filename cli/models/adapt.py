"""`pneumoscreen adapt`: set the threshold by the share of images that a site can read, without labels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table

from cli.models.answering import answer_images, progress_bar
from cli.models.compare import DEFAULT_MODEL
from cli.models.models import MODELS_DIR
from cli.models.rewriting import check_keeping, keep, keeping_options, undo_last
from cli.options import NumberWithin
from cli.report import DISCLAIMER, make_console
from shared.models.folder import find_model
from shared.models.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np

    from training.adapting import Effect

_FOLDER: Final = click.Path(path_type=Path)
_SHARES: Final = (0.2, 0.3, 0.4, 0.5)
"""What --elsewhere measures where no share is given."""


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=_FOLDER)
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of a folder in the models folder.")
@click.option(
    "--flagged",
    metavar="SHARE",
    type=NumberWithin(0, 1, min_open=True, max_open=True),
    help="Share of the images that is to be flagged, such as 0.3.",
)
@keeping_options
@click.option(
    "--elsewhere",
    metavar="FOLDER",
    type=_FOLDER,
    help="Change nothing: measure what such thresholds do on labelled images of other hospitals.",
)
@MODELS_DIR
def adapt(
    *,
    folder: Path | None,
    model: str,
    flagged: float | None,
    out: Path | None,
    in_place: bool,
    dry_run: bool,
    undo: bool,
    elsewhere: Path | None,
    models_dir: Path,
) -> None:
    """Choose the threshold that flags a given share of the images of DIR, which need no labels.

    For a site whose images the model flags too often or too rarely, and that has no labelled images. The probabilities
    do not change. This cannot tell how many cases such a threshold misses: with 30 labelled images of each class, use
    `pneumoscreen calibrate` instead. Images screened before keep their labels.
    """
    os.environ.setdefault("KERAS_BACKEND", "openvino")
    place = find_model(models_dir, model)
    if undo:
        undo_last(place, dry_run=dry_run, has_images=folder is not None, out=out)
    elif elsewhere is not None:
        _measure(place, elsewhere, (flagged,) if flagged else _SHARES)
    elif folder is None or flagged is None:
        raise click.UsageError("Name the folder of the site's images and the share to flag: adapt DIR --flagged 0.3")
    else:
        check_keeping(place, out=out, in_place=in_place)
        fresh = _choose(place, folder, flagged)
        keep(place, fresh, out=out, in_place=in_place, dry_run=dry_run)


def _choose(place: Path, folder: Path, flagged: float) -> ModelSpec:
    from evaluation.calibrate import flag_share
    from evaluation.dataset import refuse_test_split
    from evaluation.unlabelled import read_unlabelled
    from worker.networks.load import load_model

    refuse_test_split(folder)
    classifier = load_model(place, "openvino")
    spec = classifier.spec
    with progress_bar() as report_progress:
        images = read_unlabelled(folder, spec, report_progress)
        p = spec.p_pneumonia(spec.calibrate(answer_images(classifier, images.pixels, report_progress)))
    fresh = flag_share(spec, p, flagged, folder.resolve().name)
    _show(spec, fresh, p, len(images.refused), make_console())
    return fresh


def _show(spec: ModelSpec, fresh: ModelSpec, p_pneumonia: "np.ndarray", refused: int, console: Console) -> None:
    table = Table("", title=f"{spec.version} on {len(p_pneumonia):,} images without labels")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    table.add_row("Threshold", f"{spec.threshold:.4f}", f"{fresh.threshold:.4f}")
    shares = [float((p_pneumonia >= one.threshold).mean()) for one in (spec, fresh)]
    table.add_row("Flagged", *(f"{share:.1%}" for share in shares))
    console.print(table)
    if refused:
        console.print(f"{refused:,} files get no label and were left out.")
    if fresh.threshold > spec.threshold:
        console.print(
            "The threshold rises, so more cases will be missed than the model's card says; how many, nobody knows. "
            "Have a reader look at a sample of what is no longer flagged.",
            soft_wrap=True,
        )
    console.print(DISCLAIMER)


def _measure(place: Path, elsewhere: Path, shares: tuple[float, ...]) -> None:
    from training.adapting import measure_share
    from training.estimates import show_elsewhere
    from worker.networks.load import load_model

    classifier = load_model(place, "openvino")
    spec = classifier.spec
    shown = show_elsewhere(elsewhere, spec)
    with progress_bar() as report_progress:
        p = spec.p_pneumonia(spec.calibrate(answer_images(classifier, shown.pixels, report_progress)))
    table = Table("images", title=f"{spec.version} where labels are known, threshold chosen on other patients")
    for name in ("flagged", "recall before", "after", "specificity before", "after"):
        table.add_column(name, justify="right")
    for share in shares:
        for effect in measure_share(shown, p, spec.threshold, share):
            table.add_row(*_row(effect, share))
    console = make_console()
    console.print(table)
    console.print(DISCLAIMER)


def _row(effect: "Effect", share: float) -> list[str]:
    found = [f"{count} of {effect.sick}" for count in effect.found]
    passed = [f"{count} of {effect.well}" for count in effect.passed]
    return [effect.part, f"{share:.0%}", *found, *passed]
