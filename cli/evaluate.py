"""`pneumoscreen evaluate`: a model's figures on a folder of films with known labels."""

import json
import os
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from cli.models import MODELS_DIR, model_folders
from cli.report import make_console
from shared.errors import ModelUnavailable

DEFAULT_MODEL: Final = "compact-cnn"
_FIGURES: Final = (
    ("accuracy", "Accuracy"),
    ("recall", "Recall (sensitivity)"),
    ("specificity", "Specificity"),
    ("auc", "AUC"),
    ("ece", "Calibration error (ECE)"),
)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of a folder in the models folder.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here.")
@MODELS_DIR
@click.option(
    "--backend",
    type=click.Choice(["openvino", "tensorflow"]),
    default="openvino",
    show_default=True,
    help="What computes the network.",
)
def evaluate(folder: Path, model: str, json_file: Path | None, models_dir: Path, backend: str) -> None:
    """Measure a model on DIR, which holds the subfolders NORMAL and PNEUMONIA.

    Files that cannot be read are named and left out of the figures.
    """
    place = _find_model(models_dir, model)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training.evaluate import evaluate_folder

    report = evaluate_folder(folder, place)
    _show(report, make_console())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        click.echo(f"Figures written to {json_file}.")


def _find_model(models_dir: Path, name: str) -> Path:
    """Return a model's folder by its name.

    Raises ModelUnavailable with the names there are.
    """
    names = [folder.name for folder in model_folders(models_dir)]
    if name not in names:
        raise ModelUnavailable(f"There is no model '{name}' in {models_dir}. There is: {', '.join(names) or 'none'}.")
    return models_dir / name


def _show(report: dict[str, Any], console: Console) -> None:
    films = report["films"]
    table = Table(title=f"{report['model']} on {films['NORMAL']} normal and {films['PNEUMONIA']} pneumonia films")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for key, title in _FIGURES:
        low, high = report["intervals_95"][key]
        table.add_row(title, f"{report[key]:.4f}", f"{low:.4f} to {high:.4f}")
    table.add_row("Threshold", f"{report['threshold']:.4f}", "")
    console.print(table)
    console.print(_confusion_table(report["confusion"]))
    if report["unreadable"]:
        console.print(f"{len(report['unreadable'])} unreadable files were left out:")
    for name, reason in report["unreadable"].items():
        console.print(f"  {name}: {reason}", markup=False, soft_wrap=True)
    console.print("Decision support, not a diagnosis.")


def _confusion_table(matrix: dict[str, int]) -> Table:
    table = Table(title="Confusion matrix")
    table.add_column("films that are")
    table.add_column("called NORMAL", justify="right")
    table.add_column("called PNEUMONIA", justify="right")
    table.add_row("NORMAL", str(matrix["true_negative"]), str(matrix["false_positive"]))
    table.add_row("PNEUMONIA", str(matrix["false_negative"]), str(matrix["true_positive"]))
    return table
