"""`pneumoscreen evaluate`: a model's figures on a folder of films with known labels."""

import json
import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shared.errors import ModelUnavailable, PneumoScreenError
from shared.modelspec import SPEC_FILE

MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "compact-cnn"
FIGURES = (("accuracy", "Accuracy"), ("recall", "Recall (sensitivity)"), ("specificity", "Specificity"), ("auc", "AUC"))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of a folder in the models folder.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here.")
@click.option("--models-dir", type=click.Path(path_type=Path, file_okay=False), default=MODELS, help="Default: models/.")
@click.option(
    "--backend",
    type=click.Choice(["openvino", "tensorflow"]),
    default="openvino",
    show_default=True,
    help="What computes the network.",
)
def evaluate(folder: Path, model: str, json_file: Path | None, models_dir: Path, backend: str) -> None:
    """Measure a model on DIR, which holds the subfolders NORMAL and PNEUMONIA."""
    try:
        place = _find_model(models_dir, model)
        os.environ["KERAS_BACKEND"] = backend
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from training.evaluate import evaluate_folder

        report = evaluate_folder(folder, place)
    except PneumoScreenError as error:
        raise click.ClickException(str(error)) from error
    _show(report)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        click.echo(f"Figures written to {json_file}.")


def _find_model(models_dir: Path, name: str) -> Path:
    """Return a model's folder by its name.

    Raises ModelUnavailable with the names there are.
    """
    names = sorted(path.parent.name for path in models_dir.glob(f"*/{SPEC_FILE}"))
    if name not in names:
        raise ModelUnavailable(f"There is no model '{name}' in {models_dir}. There is: {', '.join(names) or 'none'}.")
    return models_dir / name


def _show(report: dict[str, Any]) -> None:
    console = Console()
    films = report["films"]
    table = Table(title=f"{report['model']} on {films['NORMAL']} normal and {films['PNEUMONIA']} pneumonia films")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for key, title in (*FIGURES, ("ece", "Calibration error (ECE)")):
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
    for heading in ("films that are", "called NORMAL", "called PNEUMONIA"):
        table.add_column(heading, justify="left" if heading == "films that are" else "right")
    table.add_row("NORMAL", str(matrix["true_negative"]), str(matrix["false_positive"]))
    table.add_row("PNEUMONIA", str(matrix["false_negative"]), str(matrix["true_positive"]))
    return table
