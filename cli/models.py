"""`pneumoscreen models`: which models there are, how good they are and whether their files are whole."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from shared.errors import ModelUnavailable
from shared.modelspec import SPEC_FILE, read_spec, verify_weights

MODELS = Path(__file__).parents[1] / "models"


@click.command()
@click.option("--models-dir", type=click.Path(path_type=Path, file_okay=False), default=MODELS, help="Default: models/.")
def models(models_dir: Path) -> None:
    """List the models with their validation figures and check their files."""
    folders = sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))
    if not folders:
        raise click.ClickException(f"No model in {models_dir}. Train one with 'pneumoscreen train'.")
    table = Table(title=f"Models in {models_dir}")
    for heading in ("model", "parameters", "input", "threshold", "AUC", "recall", "specificity", "files"):
        table.add_column(heading, justify="left" if heading in {"model", "files"} else "right", overflow="fold")
    problems = [problem for folder in folders if (problem := _add_row(table, folder))]
    Console().print(table)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _add_row(table: Table, folder: Path) -> str | None:
    """Add a model's row; return what is wrong with its files, None where they are whole."""
    try:
        spec = read_spec(folder)
    except ModelUnavailable as error:
        table.add_row(folder.name, "", "", "", "", "", "", "damaged")
        return str(error)
    problem = None
    try:
        verify_weights(folder, spec)
    except ModelUnavailable as error:
        problem = str(error)
    size = f"{spec.input_size}x{spec.input_size}"
    state = "damaged" if problem else "verified"
    table.add_row(
        spec.version, f"{spec.parameters:,}", size, f"{spec.threshold:.4f}", *_validation_figures(folder), state
    )
    return problem


def _validation_figures(folder: Path) -> list[str]:
    """Read AUC, recall and specificity from metrics.json; dashes where the model brings none."""
    path = folder / "metrics.json"
    if not path.is_file():
        return ["-", "-", "-"]
    figures = json.loads(path.read_text())["validation"]
    return [f"{figures[key]:.4f}" for key in ("auc", "recall", "specificity")]
