"""`pneumoscreen estimate`: what to expect of a model at other sites, three estimates side by side."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from cli.errors import CommandFailed
from cli.models.answering import answer_images, progress_bar
from cli.models.compare import DEFAULT_MODEL
from cli.models.models import MODELS_DIR
from cli.models.rewriting import attempt
from cli.models.train import DATA, REPOSITORY
from cli.outputs import check_writable, write_file
from cli.report import DISCLAIMER, make_console
from shared.models.folder import find_model, read_spec
from shared.models.spec import ModelSpec

if TYPE_CHECKING:
    from training.estimates import Shown

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
GAP: Final = "framing gap"
MARGIN: Final = 0.05
"""Around the lungs, as in the framed recipes."""
_FIGURES: Final = ("accuracy", "recall", "specificity", "auc", "ece")


@click.command()
@click.argument("model", metavar="[MODEL]", default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=_FOLDER,
    default=DATA / "chest_xray" / "train",
    help="The training set. Default: ../shared/data/chest_xray/train beside the project.",
)
@click.option(
    "--elsewhere",
    type=_FOLDER,
    default=DATA / "elsewhere",
    help="Folder with images of other hospitals, each with an index.csv. Default: elsewhere/ beside chest_xray/.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures here.",
)
@click.option(
    "--gap",
    metavar="FOLDER",
    type=_FOLDER,
    help="Model of the same recipe trained with --hold-out layout, whose figures are the framing gap.",
)
@click.option(
    "--layout",
    is_flag=True,
    help="Also say what a thumbnail of 16x16 pixels tells of the class, whole and framed, before and after reframing.",
)
@click.option("--write", is_flag=True, help="Put the figures into the model's metrics.json and its card.")
@MODELS_DIR
def estimate(
    *,
    model: str,
    data: Path,
    elsewhere: Path,
    json_file: Path | None,
    gap: Path | None,
    layout: bool,
    write: bool,
    models_dir: Path,
) -> None:
    """Measure MODEL on images that its training held out, on the same images reframed, and on other hospitals' images.

    Intervals are 95 %, drawn by patient. The worst of the three is what to expect.
    """
    if json_file is not None:
        check_writable(json_file)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    beside = {} if gap is None else {GAP: _read_gap(gap)}
    figures = estimate_model(find_model(models_dir, model), data, elsewhere) | beside
    if json_file is not None:
        write_file(json_file, json.dumps(figures, indent=2) + "\n")
    if write:
        _write(find_model(models_dir, model), figures)
    console = make_console()
    console.print(_figures_table(figures))
    console.print(_parts_table(figures["elsewhere"]["parts"]))
    for name, row in figures.items():
        if row.get("without_lungs"):
            console.print(f"{name}: {row['without_lungs']} images without lungs to frame were left out.")
    if layout:
        _print_layout(data, read_spec(find_model(models_dir, model)), console)
    console.print(DISCLAIMER)


def estimate_model(place: Path, data: Path, elsewhere: Path) -> dict[str, Any]:
    """Screen the images of each estimate as a worker would; return the figures by estimate.

    Raises DataUnusable or ModelUnavailable, each saying what to do.
    """
    from evaluation.dataset import refuse_test_split
    from training.estimates import held_out_images, measure_shown, show_elsewhere, show_random, show_reframed
    from training.recipe import recipe_of
    from worker.networks.load import load_model

    refuse_test_split(data)
    classifier = load_model(place, "openvino")
    spec = classifier.spec
    images, groups = held_out_images(data, recipe_of(place), spec, REPOSITORY / "runs" / "cache")
    sets = (show_random(images, groups, spec), show_reframed(images, groups, spec), show_elsewhere(elsewhere, spec))

    def measured(shown: "Shown") -> dict[str, Any]:
        with progress_bar() as report_progress:
            p = spec.p_pneumonia(spec.calibrate(answer_images(classifier, shown.pixels, report_progress)))
        return measure_shown(shown, p, spec.threshold)

    return {shown.name: measured(shown) for shown in sets}


def _read_gap(folder: Path) -> dict[str, Any]:
    """Return the figures on the normal images that a training left out, by layout, and its held-out pneumonia.

    Raises CommandFailed where the folder does not come from such a training.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
        if metrics["recipe"]["hold_out"] == "layout":
            return dict(metrics["validation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{folder} is no model folder that was trained ({type(error).__name__}).") from error
    raise CommandFailed(f"{folder} held out patients. Give a model that was trained with --hold-out layout.")


def _write(place: Path, figures: dict[str, Any]) -> None:
    """Write estimates to a model's metrics.json and its card; raise CommandFailed where the card cannot be made."""
    from evaluation.calibrate import write_whole
    from evaluation.card import card
    from training.recipes import planned_by

    path = place / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) | {"estimates": figures}
    try:
        text = card(read_spec(place), metrics, planned_by(metrics["recipe"]["network"]))
    except (KeyError, TypeError, StopIteration) as error:
        raise CommandFailed(
            f"{path} does not hold the figures of a whole training ({type(error).__name__}: {error}), from which the "
            "card is made. Nothing was written to the model. Leave --write out, or restore the file."
        ) from error
    # Written atomically: there is no other copy of the training's figures.
    attempt(lambda: write_whole(path, json.dumps(metrics, indent=2) + "\n"), path)
    attempt(lambda: write_whole(place / "card.md", text), place / "card.md")


def _print_layout(data: Path, spec: ModelSpec, console: Console) -> None:
    from training.estimates import layout_power
    from training.export import frame

    for name, framing in (("whole images", None), ("framed lungs", frame(MARGIN))):
        before, after = layout_power(data, spec.model_copy(update={"framing": framing}))
        console.print(f"A thumbnail of {name} tells the classes apart with AUC {before:.4f}, reframed {after:.4f}.")


def _figures_table(figures: dict[str, Any]) -> Table:
    table = Table("estimate", "images", "patients", *_FIGURES, title="What to expect, at the model's threshold")
    for name, row in figures.items():
        spans = (
            f"{row[key]:.3f} ({row['intervals_95'][key][0]:.3f} to {row['intervals_95'][key][1]:.3f})"
            for key in _FIGURES
        )
        table.add_row(name, str(sum(row["images"].values())), str(row.get("patients", "")), *spans)
    return table


def _parts_table(parts: list[dict[str, Any]]) -> Table:
    table = Table("images", "figure", "right", "share", "95 % interval", title="Elsewhere")
    for row in parts:
        low, high = row["interval_95"]
        table.add_row(
            row["part"],
            row["figure"],
            f"{row['right']} of {row['images']}",
            f"{row['share']:.3f}",
            f"{low:.3f} to {high:.3f}",
        )
    return table
